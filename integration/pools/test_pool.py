"""Pools of type tpm, as a user of virsh sees them."""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import xml.etree.ElementTree as etree

import libvirt
import pytest

import messages
import xmls
from expected import ANY, Output
from faults import Deed, Preload
from host import POOL, TOP, wait_for


def test_life(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool())
    text = host.virsh("pool-dumpxml", "tpm")
    host.validate(text, "storagepool")
    described = etree.fromstring(text)
    assert described.get("type") == "tpm"
    assert described.findtext("target/path") == POOL
    host.virsh("pool-build", "tpm")
    info = host.path(POOL).stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o711, 0, 0)
    host.virsh("pool-start", "tpm")
    host.virsh("pool-autostart", "tpm")
    host.virsh("pool-refresh", "tpm")
    host.validate(host.virsh("pool-dumpxml", "tpm"), "storagepool")
    assert "running" in host.virsh("pool-info", "tpm")
    host.daemon("restart", "virtstoraged")
    assert "running" in host.virsh("pool-info", "tpm")
    host.virsh("pool-destroy", "tpm")
    host.virsh("pool-delete", "tpm")
    assert not host.path(POOL).exists()


def test_autostart(host):
    """At the first start of the daemon after the machine's."""
    host.define_pool()
    host.create_volume("one")
    host.virsh("pool-autostart", "tpm")
    host.virsh("pool-destroy", "tpm")
    host.daemon("stop", "virtstoraged")
    host.path("/run/libvirt/storage/autostarted").unlink()
    host.daemon("start", "virtstoraged")
    assert host.virsh("vol-list", "tpm").split()[0] == "one"


def test_transient_pool_with_build(host):
    host.virsh("pool-create", "/dev/stdin", "--build", input=xmls.pool("brief", target="/var/lib/libvirt/tpm"))
    host.create_volume("one", "brief")
    host.virsh("pool-destroy", "brief")
    assert "brief" not in host.virsh("pool-list", "--all")
    assert host.path(f"{POOL}/one").exists()


def test_start_names_pool_build(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool())
    assert messages.POOL_DIRECTORY_MISSING(POOL, "tpm") in host.virsh_fails("pool-start", "tpm")


def test_path_with_comma_is_refused(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool(target="/var/lib/libvirt/tpm/a,b"))
    assert messages.POOL_PATH_CHARACTER(f"{POOL}/a,b", "tpm") in host.virsh_fails("pool-build", "tpm")
    assert not host.path(POOL).exists()


@pytest.fixture
def names_of_the_directory(host):
    """Other names of the default pool's directory, by kind."""
    folder = host.path("/var/lib/libvirt/names")
    folder.mkdir()
    host.path(POOL).mkdir(mode=0o711)
    (folder / "link").symlink_to(POOL)
    (folder / "mount").mkdir()
    host.run("mount", "--bind", POOL, folder / "mount")
    yield {"same": POOL, "dots": f"{folder}/../tpm/.", "link": folder / "link",
           "mount": folder / "mount"}
    host.run("umount", folder / "mount")
    shutil.rmtree(folder)


# Of which type the other pool is, by which name it knows the directory.
SHARERS = [(kind, name) for kind in ("tpm", "dir") for name in ("same", "dots", "link", "mount")]


@pytest.mark.parametrize("kind, name", SHARERS)
def test_pools_do_not_share_a_directory(host, names_of_the_directory, kind, name):
    """Whichever of both is defined first; one of them is a tpm pool."""
    other = xmls.pool("second", kind, names_of_the_directory[name])
    ways = {"tpm": (POOL, xmls.pool()), "second": (names_of_the_directory[name], other)}
    for old, new in (("tpm", "second"), ("second", "tpm")):
        (_, first), (directory, second) = ways[old], ways[new]
        host.virsh("pool-define", "/dev/stdin", input=first)
        for how in "pool-define", "pool-create":
            said = host.virsh_fails(how, "/dev/stdin", input=second)
            assert messages.DIRECTORY_IS_SHARED(new, directory, old) in said
        names = host.virsh("pool-list", "--all", "--name").split()
        assert len(names) == 1
        host.virsh("pool-undefine", *names)


@pytest.mark.parametrize("kind", ["tpm", "dir"])
@pytest.mark.parametrize("tpm_first", [True, False])
def test_pools_do_not_come_to_share_a_directory(host, kind, tpm_first):
    """A link that was made after both were defined: the second is not started."""
    link = host.path("/var/lib/libvirt/link")
    host.define_pool(start=False)
    host.define_pool("second", kind, link, start=False)
    host.virsh("pool-autostart", "tpm")
    host.virsh("pool-autostart", "second")
    host.virsh("pool-build", "tpm")
    link.symlink_to(POOL)
    first, second = ("tpm", "second") if tpm_first else ("second", "tpm")
    host.virsh("pool-start", first)
    assert messages.DIRECTORY_IS_SHARED(second, ANY, first) in host.virsh_fails("pool-start", second)
    assert host.virsh("pool-list", "--name").split() == [first]
    host.virsh("pool-destroy", first)
    host.daemon("stop", "virtstoraged")
    host.path("/run/libvirt/storage/autostarted").unlink()
    host.daemon("start", "virtstoraged")
    assert len(host.virsh("pool-list", "--name").split()) == 1
    link.unlink()


@pytest.mark.parametrize("kind", ["tpm", "dir"])
def test_pool_is_not_built_in_the_directory_of_another(host, kind):
    """By a link that was made after both were defined: owner and mode stay."""
    link = host.path("/var/lib/libvirt/link")
    host.define_pool()
    host.define_pool("second", kind, link, start=False)
    link.symlink_to(POOL)
    before = host.path(POOL).stat()
    try:
        assert messages.DIRECTORY_IS_SHARED("second", ANY, "tpm") in host.virsh_fails("pool-build", "second")
    finally:
        link.unlink()
    now = host.path(POOL).stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.fixture
def disk(host, tmp_path):
    """A block device with a file system, as its path."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    assert host.run("mkfs.ext4", "-q", image).returncode == 0
    device = host.run("losetup", "--find", "--show", image).stdout.strip()
    assert device
    yield device
    host.run("losetup", "--detach", device)


@pytest.mark.parametrize("how", ["start", "create", "autostart"])
def test_pool_that_mounts_the_directory(host, disk, how):
    """What a pool mounts is seen only when it has: it is unmounted again."""
    target = host.path("/var/lib/libvirt/mounted")
    target.mkdir()
    host.path(POOL).mkdir()
    host.run("mount", "-n", disk, POOL)
    try:
        host.path(POOL).chmod(0o711)
        host.define_pool()
        pool = f"""
<pool type='fs'>
  <name>second</name>
  <source><device path='{disk}'/><format type='ext4'/></source>
  <target><path>{target}</path></target>
</pool>
"""
        if how == "create":
            message = host.virsh_fails("pool-create", "/dev/stdin", input=pool)
        else:
            host.virsh("pool-define", "/dev/stdin", input=pool)
            message = host.virsh_fails("pool-start", "second") if how == "start" else ""
        if how == "autostart":
            host.virsh("pool-autostart", "second")
            host.daemon("stop", "virtstoraged")
            host.path("/run/libvirt/storage/autostarted").unlink()
            host.daemon("start", "virtstoraged")
            # The daemon may still be starting pools.
            wait_for("the pool is refused", timeout=60, condition=lambda: messages.DIRECTORY_IS_SHARED(
                "second", target, "tpm") in host.log("virtstoraged"))
            message = host.log("virtstoraged")
        assert messages.DIRECTORY_IS_SHARED("second", target, "tpm") in message
        assert host.virsh("pool-list", "--name").split() == ["tpm"]
        assert not target.is_mount()
        host.virsh("pool-destroy", "tpm")
        if how == "start":
            host.virsh("pool-start", "second")
            host.virsh("pool-destroy", "second")
    finally:
        host.run("umount", "-n", target)
        host.run("umount", "-n", POOL)
        target.rmdir()


@pytest.fixture
def links(tpm_host):
    """Folder of a pool 'plain' of type dir beside a tpm pool whose volume 'one' a guest uses; what can be done to
    its volume 'link'."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start_paused()
    tpm_host.define_pool("plain", "dir", "/var/lib/libvirt/images/plain")
    folder = tpm_host.path("/var/lib/libvirt/images/plain")
    (folder / "zeros").write_bytes(bytes(4096))
    return folder, [("vol-wipe", "link"), ("vol-wipe", "link", "--algorithm", "random"),
                    ("vol-upload", "link", folder / "zeros"), ("vol-resize", "link", "2M")]


# What a link leads to: a file of the pool's directory, and how.
LINKS = {
    "symbolic": lambda link, path: link.symlink_to(path),
    "relative": lambda link, path: link.symlink_to(os.path.relpath(path, link.parent)),
    "hard": lambda link, path: os.link(path, link),
}


def make_far_link(link, path):
    """A symbolic link to a hard link in a third place."""
    os.link(path, link.parent.parent / "far")
    link.symlink_to(link.parent.parent / "far")


@pytest.mark.parametrize("make", [*LINKS.values(), make_far_link], ids=[*LINKS, "far"])
@pytest.mark.parametrize("active", [True, False], ids=["active", "inactive"])
def test_volume_of_another_pool_is_a_link(tpm_host, links, make, active):
    """To a volume of a tpm pool: nothing is written to it, and only the link is deleted."""
    folder, ways = links
    path = tpm_host.path(f"{POOL}/one")
    make(folder / "link", path)
    tpm_host.virsh("pool-refresh", "plain")
    if not active:
        tpm_host.virsh("pool-destroy", "tpm")
    before = tpm_host.contents(POOL)
    for command, *arguments in ways:
        said = tpm_host.virsh_fails(command, *arguments, "--pool", "plain")
        assert messages.FILE_OF_TPM_POOL("link", "plain", re.compile("one"), "tpm") in said, command
    assert "already in use" in tpm_host.copy_fails("zeros", "link", "plain", "plain", capacity=4096)
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("vol-delete", "link", "--pool", "plain")
    assert tpm_host.contents(POOL) == before
    assert not (folder / "link").exists()


@pytest.mark.parametrize("make", LINKS.values(), ids=LINKS)
def test_volume_of_another_pool_is_a_link_to_any_file(tpm_host, links, make):
    """Of a tpm pool's directory, which itself has another name."""
    folder, ways = links
    second = tpm_host.path("/var/lib/libvirt/second")
    second.symlink_to("/var/lib/libvirt/images/second")
    second.resolve().mkdir(mode=0o711)
    tpm_host.define_pool("second", target=second)
    tpm_host.create_volume("two", "second", tpm="<tpm manufacture='no'/>")
    try:
        for name in ("two", "two.tpm.xml"):
            make(folder / "link", second.resolve() / name)
            tpm_host.virsh("pool-refresh", "plain")
            for command, *arguments in ways:
                said = tpm_host.virsh_fails(command, *arguments, "--pool", "plain")
                assert messages.FILE_OF_TPM_POOL("link", "plain", name, "second") in said, command
            (folder / "link").unlink()
    finally:
        second.unlink()


def test_volume_of_another_pool_is_in_use(tpm_host, links):
    """TPM state that no tpm pool knows, as of one that was undefined; it is written to when nobody uses it."""
    folder, ways = links
    os.link(f"{POOL}/one", folder / "link")
    tpm_host.virsh("pool-refresh", "plain")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.virsh("pool-undefine", "tpm")
    before = tpm_host.contents(POOL)
    for command, *arguments in ways:
        said = tpm_host.virsh_fails(command, *arguments, "--pool", "plain")
        holder = messages.PROCESS_NAMED(ANY, "swtpm")
        assert messages.STATE_OF_OTHER_POOL_IN_USE("link", "plain", holder) in said, command
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("destroy", "guest")
    tpm_host.wait_for_none("swtpm")
    for command, *arguments in ways[:1] + ways[2:]:
        tpm_host.virsh(command, *arguments, "--pool", "plain")


def test_links_that_are_no_matter(tpm_host, links):
    """Of a pool of another type, to what is no file of a tpm pool."""
    folder, ways = links
    far = tpm_host.path("/var/lib/libvirt/images/far")
    for make in LINKS.values():
        far.write_bytes(b"x" * 4096)
        make(folder / "link", far)
        tpm_host.virsh("pool-refresh", "plain")
        for command, *arguments in ways[:1] + ways[2:]:
            tpm_host.virsh(command, *arguments, "--pool", "plain")
        assert not any(far.read_bytes())
        (folder / "link").unlink()


def test_other_pools_may_share_a_directory(host):
    """That is their own affair, and was possible before."""
    host.define_pool("one", "dir", "/var/lib/libvirt/images")
    host.path("/var/lib/libvirt/link").symlink_to("/var/lib/libvirt/images")
    host.define_pool("two", "dir", "/var/lib/libvirt/link")
    host.path("/var/lib/libvirt/link").unlink()


@pytest.mark.parametrize("mode, group, refused", [
    (0o711, 0, False), (0o2771, 0, False), (0o713, 0, True), (0o1777, 0, True), (0o730, 65534, True)])
def test_directory_that_others_may_write(host, mode, group, refused):
    host.define_pool(start=False)
    host.virsh("pool-build", "tpm")
    os.chown(host.path(POOL), 0, group)
    host.path(POOL).chmod(mode)
    if refused:
        assert messages.POOL_DIRECTORY_WRITABLE(POOL, "tpm", f"{mode:o}") in host.virsh_fails("pool-start", "tpm")
    else:
        host.virsh("pool-start", "tpm")


def test_formats_in_capabilities(host):
    """Those that vol-create takes."""
    capabilities = etree.fromstring(host.virsh("pool-capabilities"))
    formats = capabilities.findall("pool[@type='tpm']/volOptions/enum[@name='targetFormatType']/value")
    assert [value.text for value in formats] == ["raw"]


def test_listed_by_type(host):
    host.define_pool()
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    assert host.virsh("pool-list", "--type", "tpm", "--name") == "tpm"
    assert host.virsh("pool-list", "--type", "dir", "--name") == "plain"
    assert "<pool type='tpm' supported='yes'>" in host.virsh("pool-capabilities")


def test_other_pools_refuse_tpm_volumes(host):
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    secret = host.define_secret("key", "tpm-key")
    said = host.virsh_fails("vol-create", "plain", "/dev/stdin",
                            input=xmls.volume("one", capacity=4096, tpm="<tpm/>"))
    assert messages.TPM_IN_OTHER_POOL("one", "plain", "dir") in said
    said = host.virsh_fails("vol-create", "plain", "/dev/stdin",
                            input=xmls.volume("one", capacity=4096, encryption="vtpm", secret=secret))
    assert messages.VTPM_IN_OTHER_POOL("one", "plain", "dir") in said


def test_refresh_takes_what_is_a_volume(host):
    """One bad file never fails the pool, and nothing is followed or waited for."""
    host.define_pool()
    path = host.path(host.create_volume("good"))
    pool = path.parent
    (pool / ".hidden").write_bytes(b"x")
    (pool / "a,b").write_bytes(b"x")
    (pool / "line\nbreak").write_bytes(b"x")
    (pool / "folder").mkdir()
    (pool / "link").symlink_to(path)
    (pool / "dangling").symlink_to("/nowhere")
    host.run("mkfifo", pool / "fifo")
    (pool / "alone.tpm.xml").write_text("<volume/>")
    (pool / "foreign").write_bytes(b"x" * 1000)
    before = host.contents(POOL)
    host.virsh("pool-refresh", "tpm")
    assert host.virsh("vol-list", "tpm", "--details").count("\n") == 1
    assert {line.split()[0] for line in host.virsh("vol-list", "tpm").splitlines()} == {"good", "foreign"}
    assert host.contents(POOL) == before


# A process with a lease, which it gives back some time after it is asked to, in seconds.
LEASE = """
import fcntl, os, signal, sys, time
kind = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK}[sys.argv[2]]
fd = os.open(sys.argv[1], os.O_RDWR if kind == fcntl.F_WRLCK else os.O_RDONLY)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
print("leased", flush=True)
signal.sigwait([signal.SIGIO])
time.sleep(float(sys.argv[3]))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
time.sleep(1000)
"""


@contextlib.contextmanager
def leased(path, kind, seconds):
    """Some process has a lease on a file, as an NFS server has for its clients' delegations."""
    holder = subprocess.Popen([sys.executable, "-c", LEASE, path, kind, str(seconds)], stdout=subprocess.PIPE,
                              text=True)
    assert holder.stdout.readline() == "leased\n"
    try:
        yield
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("kind, command", [
    ("read", ("start", "guest", "--paused")), ("write", ("start", "guest", "--paused")),
    ("write", ("pool-refresh", "tpm")), ("write", ("vol-dumpxml", "one", "--pool", "tpm")),
    ("write", ("vol-clone", "one", "two", "--pool", "tpm")), ("read", ("vol-wipe", "one", "--pool", "tpm")),
    ("write", ("vol-delete", "one", "--pool", "tpm"))])
def test_lease_that_is_given_back(tpm_host, kind, command):
    """It is waited for, and not taken for the lock of somebody who uses the volume."""
    path = tpm_host.create_volume("one")
    tpm_host.define_guest("guest", xmls.tpm_volume("one"))
    with leased(path, kind, 0.2):
        tpm_host.virsh(*command)
    names = {line.split()[0] for line in tpm_host.virsh("vol-list", "tpm").splitlines()}
    assert names - {"two"} == (set() if command[0] == "vol-delete" else {"one"})


def test_lease_of_a_description(tpm_host):
    path = tpm_host.create_volume("one")
    identity = tpm_host.identity("one")
    with leased(f"{path}.tpm.xml", "write", 0.2):
        assert tpm_host.identity("one") == identity


def test_lease_that_is_kept(tpm_host):
    """It is waited for, but not for long."""
    path = tpm_host.create_volume("one")
    with leased(path, "read", 20):
        begin = time.monotonic()
        said = tpm_host.virsh_fails("vol-delete", "one", "--pool", "tpm")
        assert time.monotonic() - begin < 5
    assert messages.LEASED("one", "tpm", path) in said


def test_volume_deleted_while_it_is_looked_up(host):
    """A volume that was put there by hand is looked up twice, and deleted when only one has
    read it: the other does not bring it back."""
    host.define_pool()
    path = host.path(host.create_volume("one"))
    with Preload(host, [POOL]) as preload:
        pools = [libvirt.open("storage:///system").storagePoolLookupByName("tpm") for _ in range(2)]
        shutil.copy(path, path.with_name("two"))
        preload.arm(["read"], stop=1)
        lookup = Deed(lambda: pools[0].storageVolLookupByName("two"))
        wait_for("the lookup reads the volume", lambda: preload.control.stopped)
        pools[1].storageVolLookupByName("two").delete()
        preload.control.go = 1
        assert lookup.ended(30)
        assert messages.NO_VOLUME_OF_NAME("two") in Output(lookup.error)
        assert pools[1].listVolumes() == ["one"]


def test_directory_in_the_pool_is_no_matter(host):
    """As lost+found is one, on a file system of its own."""
    host.define_pool()
    host.path(f"{POOL}/lost+found").mkdir(0o700)
    host.path(f"{POOL}/odd").symlink_to("/nowhere")
    host.virsh("pool-refresh", "tpm")
    assert "lost+found" not in host.log("virtstoraged")
    assert "odd" in host.log("virtstoraged")
    host.path(f"{POOL}/lost+found").rmdir()


def test_state_without_a_sidecar_gets_an_identity(host):
    """The same one for everybody from then on; another host's is never replaced."""
    host.define_pool()
    path = host.path(host.create_volume("one"))
    for name in ("two", "three"):
        host.run("cp", path, path.with_name(name))
    path.with_name("three.tpm.xml").write_text("corrupt")
    path.with_name("blank").write_bytes(b"")
    host.virsh("pool-refresh", "tpm")
    identity = host.identity("two")
    assert identity not in (None, host.identity("one"))
    assert {"two.tpm.xml"} == {file.name for file in path.parent.glob("*.tpm.xml")} - {
        "one.tpm.xml", "three.tpm.xml"}
    assert path.with_name("three.tpm.xml").read_text() == "corrupt"
    before = host.contents(POOL)
    host.virsh("pool-refresh", "tpm")
    assert host.contents(POOL) == before
    assert host.identity("two") == identity
    assert host.describe("two").find("tpm").get("version") == "2.0"


def test_guest_starts_while_its_volume_gets_an_identity(tpm_host):
    """The disk may take its time to write the description: the volume is not locked meanwhile."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    guest = tpm_host.define_guest("guest", xmls.tpm_volume("one"))
    with Preload(tpm_host, [POOL]) as preload:
        path.with_name("one.tpm.xml").unlink()
        preload.arm(["fsync"], stop=1)
        refresh = Deed(lambda: tpm_host.virsh("pool-refresh", "tpm"))
        wait_for("the description is written", lambda: preload.control.stopped)
        guest.start_paused()
        preload.control.go = 1
        assert refresh.ended(30)
    assert [file.name for file in path.parent.glob(".*")] == []
    tpm_host.virsh("destroy", "guest")
    tpm_host.wait_for_none("swtpm")
    tpm_host.virsh("pool-refresh", "tpm")
    assert tpm_host.identity("one")


def test_pool_that_cannot_be_written_to(host):
    """It is refreshed all the same; state without a sidecar stays without one."""
    host.define_pool()
    path = host.path(host.create_volume("one"))
    path.with_name("one.tpm.xml").unlink()
    host.run("mount", "--bind", POOL, POOL)
    try:
        assert host.run("mount", "-o", "remount,ro,bind", POOL).returncode == 0
        host.virsh("pool-refresh", "tpm")
        assert host.virsh("vol-list", "tpm").split()[0] == "one"
        assert host.identity("one") is None
    finally:
        host.run("umount", POOL)


def test_refresh_removes_only_forgotten_temporaries(host):
    """A temporary goes with its maker; one that is locked is being made."""
    host.define_pool()
    pool = host.path(POOL)
    forgotten = pool / ".one.Ab12Cd.tmptpm"
    forgotten.write_bytes(b"x")
    held = pool / ".two.Ab12Cd.tmptpm"
    with open(held, "wb") as file:
        host.lock(file)
        host.virsh("pool-refresh", "tpm")
        assert not forgotten.exists()
        assert held.exists()
    host.virsh("pool-refresh", "tpm")
    assert not held.exists()


@pytest.mark.parametrize("content", ["", "not XML", "<volume><name>x</name></volume>" + " " * 70000])
def test_bad_sidecar_does_no_harm(host, content):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    path.with_name("one.tpm.xml").write_text(content)
    host.virsh("pool-refresh", "tpm")
    described = etree.fromstring(host.virsh("vol-dumpxml", "one", "--pool", "tpm"))
    assert described.find("tpm").get("version") == "2.0"
    assert described.find("tpm/uuid") is None
    assert "one.tpm.xml" in host.log("virtstoraged")


def test_session_of_an_unprivileged_user(host):
    """Its pool is in the user's data directory, and the user makes and copies the TPMs."""
    home = host.path("/var/lib/libvirt/home")
    daemons = TOP / "build/subprojects/libvirt/src"
    if host.run("setpriv", "--reuid=games", "--clear-groups", "test", "-x", daemons / "virtstoraged").returncode:
        pytest.skip("other users cannot reach this checkout")
    script = f"""
set -e
export HOME={home} XDG_RUNTIME_DIR={home}/run LIBVIRT_DEFAULT_URI=storage:///session
{daemons}/virtsecretd --daemon
{daemons}/virtstoraged --daemon
trap 'pkill -u games virt' EXIT
virsh pool-define {home}/pool.xml
virsh pool-build tpm
virsh pool-start tpm
virsh vol-create-as tpm one 1M
virsh vol-dumpxml one tpm
virsh vol-clone one two tpm
virsh vol-download two {home}/state tpm
virsh vol-wipe two tpm
virsh vol-upload two {home}/state tpm
cmp {home}/state {home}/.local/share/libvirt/tpm/one
"""
    (home / "run").mkdir(parents=True)
    (home / "pool.xml").write_text(xmls.pool())
    host.run("chown", "-R", "games", home)
    done = host.run("setpriv", "--reuid=games", "--regid=games", "--clear-groups",
                    "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert f"<path>{home}/.local/share/libvirt/tpm/one</path>" in done.stdout
    assert (home / ".local/share/libvirt/tpm/one").owner() == "games"
    shutil.rmtree(home)


@pytest.mark.parametrize("bits", [0o2000, 0o1000, 0o4000])
def test_directory_with_a_special_mode(tpm_host, bits):
    """Set-group-ID and the like: the pool can be refreshed, used, and defined again."""
    tpm_host.create_volume("one")
    directory = tpm_host.path(POOL)
    directory.chmod(0o711 | bits)
    tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    text = tpm_host.virsh("pool-dumpxml", "tpm")
    assert f"<mode>0{0o711 | bits:o}</mode>" in text
    tpm_host.virsh("pool-define", "/dev/stdin", input=text)
    tpm_host.validate(text, "storagepool")
