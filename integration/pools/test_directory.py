"""The directory of a tpm pool is that pool's only: no other pool has it, mounts there, or leads to its
volumes by links."""

import os
import re
import shutil

import pytest

import messages
import xmls
from expected import ANY
from host import IMAGES, POOL, wait_for


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


def test_volume_that_is_not_mounted_is_not_deleted(host):
    """It would be back with its file system."""
    elsewhere = host.path("/var/lib/libvirt/elsewhere")
    elsewhere.mkdir(mode=0o711)
    host.define_pool(start=False)
    host.virsh("pool-build", "tpm")
    assert host.run("mount", "--bind", elsewhere, POOL).returncode == 0
    host.virsh("pool-start", "tpm")
    host.create_volume("one")
    host.run("umount", "-l", POOL)
    said = host.virsh_fails("vol-delete", "one", "--pool", "tpm")
    assert messages.NOT_FOUND_IN_OTHER_DIRECTORY("one", "tpm", POOL) in said
    assert {path.name for path in elsewhere.iterdir()} == {"one", "one.tpm.xml"}
    shutil.rmtree(elsewhere)
    host.virsh("pool-destroy", "tpm")


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
    host.define_pool("one", "dir", IMAGES)
    host.path("/var/lib/libvirt/link").symlink_to(IMAGES)
    host.define_pool("two", "dir", "/var/lib/libvirt/link")
    host.path("/var/lib/libvirt/link").unlink()
