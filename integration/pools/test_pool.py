"""Pools of type tpm, as a user of virsh sees them: their life, what they refuse, and what a refresh
does."""

import contextlib
import os
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
from expected import Output
from host import IMAGES, POOL, TOP, wait_for
from preload import Deed, Preload


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
    host.define_pool("plain", "dir", IMAGES)
    assert host.virsh("pool-list", "--type", "tpm", "--name") == "tpm"
    assert host.virsh("pool-list", "--type", "dir", "--name") == "plain"
    assert "<pool type='tpm' supported='yes'>" in host.virsh("pool-capabilities")


def test_other_pools_refuse_tpm_volumes(host):
    host.define_pool("plain", "dir", IMAGES)
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
