"""TPM volumes that a domain names by a path, as a disk or as the state of a TPM: refused by whatever
name, and not removed with the domain."""

import fcntl
import itertools
import os

import pytest

import messages
import xmls
from expected import ANY
from host import POOL


def define_with_nvram(host, guest, path):
    """Define a guest again, with an NVRAM."""
    line = f"<loader readonly='yes' type='pflash'>/usr/share/code.fd</loader><nvram>{path}</nvram>"
    host.virsh("define", "/dev/stdin", input=guest.xml().replace("<cmdline>", f"{line}<cmdline>"))


def names_of(host, path, folder):
    """Other names of a volume: by a symbolic link, and bind mounts of the file and of the
    pool's directory."""
    link = folder / "link"
    link.symlink_to(path)
    yield link
    hard = path.parent.parent / "hard"
    hard.unlink(missing_ok=True)
    os.link(path, hard)
    yield hard
    hard.unlink()
    for what, where in ((path, folder / "file"), (path.parent, folder / "directory")):
        where.mkdir() if what.is_dir() else where.touch()
        assert host.run("mount", "-n", "--bind", what, where).returncode == 0
        try:
            yield where / path.name if what.is_dir() else where
        finally:
            host.run("umount", "-n", where)


def test_path_of_a_volume_is_refused(tpm_host, tmp_path):
    """As another domain's TPM or disk, whatever name leads there; and it stays."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    facts = tpm_host.contents(POOL)
    for name in itertools.chain([path], names_of(tpm_host, path, tmp_path)):
        for tpm in (xmls.tpm_path(name), xmls.tpm_path(name, "dir")):
            tpm_host.define_guest("other", tpm)
            said = tpm_host.virsh_fails("start", "other")
            assert messages.PATH_OF_VOLUME(ANY, "one", "tpm", "other") in said
            tpm_host.virsh("undefine", "other", "--tpm")
        tpm_host.define_guest("other", xmls.disk(name, "raw"))
        said = tpm_host.virsh_fails("start", "other")
        assert messages.PATH_ONLY_FOR_TPM(name, "one", "tpm") in said
        tpm_host.virsh("undefine", "other", "--tpm")
    after = tpm_host.contents(POOL)
    assert after.keys() == facts.keys()
    tpm_host.opens_in_swtpm(path)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()


@pytest.mark.parametrize("place, volume", [("", None), ("/new", "new"), ("/one/sub", "one"), ("/../tpm/new", "new")])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_path_in_a_pool_is_refused(tpm_host, kind, place, volume):
    """Also of what is not there yet, and of the pool's directory itself."""
    tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    guest = tpm_host.define_guest(tpm=xmls.tpm_path(f"{POOL}{place}", kind))
    message = messages.PATH_OF_VOLUME(f"{POOL}{place}", volume, "tpm", "guest") if volume else \
        messages.PATH_IN_TPM_POOL(POOL, "guest")
    assert message in tpm_host.virsh_fails("start", "guest")
    tpm_host.virsh("undefine", "guest", "--tpm")
    assert tpm_host.contents(POOL) == facts
    guest.tpm = xmls.tpm_path(f"{POOL}{place}", kind)
    assert message in tpm_host.virsh_fails("create", "/dev/stdin", input=guest.xml())
    assert tpm_host.contents(POOL) == facts


def test_directory_above_a_pool_stays(tpm_host):
    tpm_host.define_pool("deep", target="/var/lib/libvirt/above/pool")
    tpm_host.create_volume("one", pool="deep")
    facts = tpm_host.contents("/var/lib/libvirt/above")
    tpm_host.define_guest(tpm=xmls.tpm_path("/var/lib/libvirt/above", "dir"))
    tpm_host.virsh("undefine", "guest", "--tpm")
    assert tpm_host.contents("/var/lib/libvirt/above") == facts


@pytest.mark.parametrize("storage", ["stopped pool", "no driver"])
def test_path_of_a_volume_without_its_pool(tpm_host, storage):
    """The pool is off, or the storage driver is: the file is a volume all the same."""
    tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    if storage == "no driver":
        tpm_host.daemon("stop", "virtstoraged")
    else:
        tpm_host.virsh("pool-destroy", "tpm")
    path = f"{POOL}/one"
    for devices, known, guessed in (
            (xmls.tpm_path(path), messages.PATH_OF_VOLUME(path, "one", "tpm", "other"),
             messages.PATH_IN_TPM_POOL(path, "other")),
            (xmls.disk(path, "raw"), messages.PATH_ONLY_FOR_TPM(path, "one", "tpm"),
             messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(path))):
        tpm_host.define_guest("other", devices)
        assert (guessed if storage == "no driver" else known) in tpm_host.virsh_fails("start", "other")
        tpm_host.virsh("undefine", "other", "--tpm")
    if storage == "no driver":
        tpm_host.daemon("start", "virtstoraged")
    assert tpm_host.contents(POOL) == facts


# How the target of a symbolic link may be written: {0} is the path of what it means.
TARGETS = ["{0}", "{0}/", "{0}//", "{0}/.", "{0}/./", "/{0}", "{0}/../real", "{0}//sub/..", "real/", "./real/.",
           "../images//real/"]


@pytest.fixture
def linked(tpm_host, images):
    """A function that makes a pool in or below the directory images/real, named by a symbolic link with
    the given target, with a guest that runs on its volume "one"."""
    def make(target, below="", link=images / "link"):
        real = images / "real"
        (real / "sub").mkdir(parents=True)
        real.chmod(0o711)
        link.symlink_to(target.format(real))
        tpm_host.define_pool("linked", target=f"{link}{below}")
        tpm_host.create_volume("one", "linked")
        tpm_host.define_guest("one", xmls.tpm_volume("one", "linked")).start_paused()
        return real
    return make


@pytest.mark.parametrize("below", ["", "/tpm"])
@pytest.mark.parametrize("target", TARGETS)
def test_path_in_a_pool_behind_a_link(tpm_host, images, linked, target, below):
    """However the target of the link is written, and wherever it is in the path."""
    real = linked(target, below)
    facts = tpm_host.contents(f"{real}{below}")
    for path in (images / "link", real):
        tpm_host.define_guest("other", xmls.tpm_path(f"{path}{below}/one"))
        said = tpm_host.virsh_fails("start", "other")
        assert messages.PATH_OF_VOLUME(f"{path}{below}/one", "one", "linked", "other") in said
        tpm_host.virsh("undefine", "other", "--tpm")
        assert tpm_host.contents(f"{real}{below}") == facts


@pytest.mark.parametrize("path, volume", [
    ("link/./one", "one"), ("link/../real/one", "one"), ("real/sub/../one", "one"), ("real/sub/.././/one", "one"),
    ("slash/one", "one"), ("missing/../real/new", "new"), ("dangling", "new"), ("link/sub/../new", "new")])
def test_path_in_a_pool_however_written(tpm_host, images, linked, path, volume):
    """Also of what does not exist yet."""
    real = linked("{0}")
    (images / "slash").symlink_to(f"{real}//")
    (images / "dangling").symlink_to(f"{real}/./new")
    facts = tpm_host.contents(real)
    tpm_host.define_guest("other", xmls.tpm_path(images / path))
    assert messages.PATH_OF_VOLUME(ANY, volume, "linked", "other") in tpm_host.virsh_fails("start", "other")
    tpm_host.virsh("undefine", "other", "--tpm")
    assert tpm_host.contents(real) == facts


@pytest.fixture
def remote(tpm_host, images):
    """A directory of a file system that counts as one that might not answer."""
    folder = images / "remote"
    folder.mkdir()
    assert tpm_host.run("mount", "-n", "-t", "bpf", "none", folder).returncode == 0
    yield folder
    tpm_host.run("virsh", "destroy", "one")
    tpm_host.run("virsh", "pool-destroy", "linked")
    tpm_host.run("umount", "-n", folder)


def left_alone(host, path, sign, since):
    """Whether the daemon has logged that it does not remove a file, and why, behind so many characters."""
    reason = {"description": "it is described as a TPM volume", "lock": "it is locked like TPM state in use"}[sign]
    return f"'{path}' is not removed: {reason}" in host.log()[since:]


@pytest.mark.parametrize("sign", ["description", "lock"])
def test_path_in_a_pool_behind_a_link_that_is_not_read(tpm_host, images, linked, remote, sign):
    """The link is where nobody might answer. What is described as a volume, or locked, is refused and left
    alone; a guest with other state is not concerned."""
    real = linked("{0}", link=remote / "link")
    path = real / "one"
    if sign == "lock":
        path.with_name("one.tpm.xml").unlink()
    facts = tpm_host.contents(real)
    since = len(tpm_host.log())
    for devices, message in (
            (xmls.tpm_path(path), messages.PATH_IN_TPM_POOL(path, "other") if sign == "description" else None),
            (xmls.disk(path, "raw"), messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(path))):
        tpm_host.define_guest("other", devices)
        said = tpm_host.virsh_fails("start", "other")
        assert message is None or message in said
        tpm_host.virsh("undefine", "other", "--tpm")
        assert tpm_host.contents(real) == facts
    assert left_alone(tpm_host, path, sign, since)

    own = images / "own"
    own.mkdir()
    own.chmod(0o777)
    tpm_host.define_guest("other", xmls.tpm_path(own / "state")).start_paused()
    tpm_host.virsh("destroy", "other")
    assert (own / "state").exists()
    tpm_host.virsh("undefine", "other", "--tpm")
    assert not (own / "state").exists()


@pytest.mark.parametrize("sign", ["description", "lock"])
@pytest.mark.parametrize("what", ["state", "directory", "nvram"])
def test_volume_of_an_undefined_pool_stays(tpm_host, what, sign):
    """No pool tells that it is one. A guest may run on it."""
    tpm_host.define_pool("deep", target="/var/lib/libvirt/images/above/pool")
    path = tpm_host.path(tpm_host.create_volume("one", pool="deep"))
    if sign == "lock":
        tpm_host.define_guest("one", xmls.tpm_volume("one", "deep")).start_paused()
        path.with_name("one.tpm.xml").unlink()
    tpm_host.virsh("pool-destroy", "deep")
    tpm_host.virsh("pool-undefine", "deep")
    facts = tpm_host.contents(path.parent)
    name = path.parent.parent if what == "directory" else path
    kind = "dir" if what == "directory" else "file"
    guest = tpm_host.define_guest(tpm="" if what == "nvram" else xmls.tpm_path(name, kind))
    if what == "nvram":
        define_with_nvram(tpm_host, guest, path)
    since = len(tpm_host.log())
    tpm_host.virsh("undefine", "guest", "--tpm", "--nvram")
    assert tpm_host.contents(path.parent) == facts
    assert left_alone(tpm_host, name, sign, since)


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("command", [("managedsave-remove", "guest"), ("start", "guest", "--paused", "--force-boot"),
                                     ("start", "guest", "--paused"), ("undefine", "guest", "--managed-save")])
def test_volume_in_place_of_a_saved_guest_stays(tpm_host, command, defined):
    """In a pool where libvirt keeps what it saves. As nothing else can be in its place, that fails."""
    folder = tpm_host.path("/var/lib/libvirt/qemu/save")
    mode = folder.stat().st_mode
    try:
        tpm_host.define_pool("save", target=folder)
        tpm_host.create_volume("guest.save", pool="save")
        tpm_host.define_guest(tpm="")
        tpm_host.daemon("restart", "virtqemud")
        if not defined:
            tpm_host.virsh("pool-destroy", "save")
            tpm_host.virsh("pool-undefine", "save")
        facts = tpm_host.contents(folder)
        assert "remove" in tpm_host.virsh_fails(*command)
        assert tpm_host.contents(folder) == facts
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.chmod(mode)


def test_saved_guest_that_somebody_reads_is_removed(tpm_host):
    """A backup program may lock it; it is no TPM state."""
    tpm_host.define_guest(tpm="").start_paused()
    tpm_host.virsh("managedsave", "guest")
    image = tpm_host.path("/var/lib/libvirt/qemu/save/guest.save")
    with open(image, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        tpm_host.virsh("managedsave-remove", "guest")
    assert not image.exists()


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_state_that_is_no_volume_is_removed(tpm_host, images, kind):
    """And so is an NVRAM."""
    images.chmod(0o777)
    guest = tpm_host.define_guest(tpm=xmls.tpm_path(images / "state", kind))
    guest.start_paused()
    tpm_host.virsh("destroy", "guest")
    (images / "nvram").write_bytes(bytes(1 << 16))
    define_with_nvram(tpm_host, guest, images / "nvram")
    tpm_host.virsh("undefine", "guest", "--tpm", "--nvram")
    assert not (images / "state").exists() and not (images / "nvram").exists()
