"""A file system, program or process that does not answer only delays those who need it.

A volume, the directory of a pool, another pool and a copy between two of them hang in turn.
"""

import contextlib
import functools
import signal
import subprocess
import sys
import time

import libvirt
import pytest

import messages
import storm
import xmls
from expected import Output
from preload import Deed
from host import IMAGES, POOL, TOP, wait_for


class Server:
    """A file on a file system of its own, whose server can be made to answer no more."""

    def __init__(self, image, shown):
        self.path = shown
        before = shown.stat().st_dev
        self._server = subprocess.Popen(
            ["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=file,filename={image}",
             "--export", f"type=fuse,id=export,node-name=file,mountpoint={shown},writable=on,allow-other=off"])
        wait_for("the export is mounted",
                 lambda: shown.stat().st_dev != before or self._server.poll() is not None, timeout=20)
        assert self._server.poll() is None, "qemu-storage-daemon has ended"

    def stop(self):
        """Answer no more."""
        self._server.send_signal(signal.SIGSTOP)
        # Until then the kernel knows the answers.
        time.sleep(1.2)

    def resume(self):
        """Answer again."""
        self._server.send_signal(signal.SIGCONT)

    def close(self):
        """Unmount the file."""
        self.resume()
        self._server.terminate()
        self._server.wait()


@pytest.fixture
def stuck(tpm_host, tmp_path):
    """A file of a file system that answers no more, held open by some process of tpm_host."""
    image, shown = tmp_path / "image", tmp_path / "shown"
    image.write_bytes(bytes(1 << 20))
    shown.touch()
    server = Server(image, shown)
    with open(shown, "rb") as file:
        holder = subprocess.Popen(["sleep", "600"], stdin=file)
    server.stop()
    yield shown
    server.resume()
    holder.kill()
    holder.wait()
    server.close()


LOCKER = """
import sys
sys.path.insert(0, sys.argv[1])
from host import Host
with open(sys.argv[2], "r+b") as file:
    Host.lock(file)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("stuck")
def test_file_system_that_does_not_answer(tpm_host):
    """A volume is in use, and some process has a file open of a file system that hangs: who
    asks for the volume is refused, and told who has it, and all else goes on."""
    path = tpm_host.create_volume("c0")
    tpm_host.create_volume("c1")
    # After the other: processes are looked through by their numbers.
    locker = subprocess.Popen([sys.executable, "-c", LOCKER, TOP / "integration", path],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert locker.stdout.readline() == "locked\n"
    try:
        clients = [storm.Client({"c": None}) for _ in range(2)]
        delete = Deed(lambda: clients[0].delete("c0"))
        refused = delete.ended(10)
        look = Deed(lambda: (clients[1].names(), clients[1].describe("c1"), clients[1].delete("c1")))
        assert look.ended(10), "nothing can be asked of the pool"
        assert refused, "vol-delete has not ended"
        assert messages.IN_USE("c0", "tpm", messages.PROCESS_NAMED(locker.pid)) in Output(delete.error)
        assert look.done, look.error
    finally:
        locker.stdin.close()
        locker.wait()


class Volumes:
    """A pool with a volume, c-stuck, whose file system stops answering, and others."""

    def __init__(self, host, image):
        self.client, self.other = (storm.Client({"c": None}) for _ in range(2))
        for name in ("c-old", "c-removed"):
            self.client.create(name)
        path = host.path(f"{POOL}/c-stuck")
        image.write_bytes(path.with_name("c-old").read_bytes())
        path.touch()
        self.server = Server(image, path)

    def lookup(self):
        """Find a volume that the pool does not know."""
        self.client.describe("c-stuck")

    def describe(self):
        """Its XML."""
        self.volume.XMLDesc()

    def inspect(self):
        """Its XML, when it was opened."""
        self.volume.XMLDesc(1)

    def info(self):
        """Its size."""
        self.volume.info()

    def refresh(self):
        """Refresh the pool."""
        self.client.refresh()

    def copy(self):
        """Copy it."""
        self.client.copy("c-stuck", "c-copy")

    def export(self):
        """Copy it to a pool of another type."""
        plain = self.client.connection.storagePoolLookupByName("plain")
        plain.createXMLFrom("<volume><name>copy</name><capacity>1</capacity></volume>", self.volume, 0).delete()

    def download(self):
        """Download it."""
        self.client.download("c-stuck")

    def wipe(self):
        """Wipe it: its file is a mount point, and so cannot be replaced."""
        with contextlib.suppress(libvirt.libvirtError):
            self.volume.wipe()

    def use_others(self):
        """All that does not need it."""
        pool = self.other.pool
        assert {"c-old", "c-removed"} <= self.other.names()
        pool.info()
        pool.XMLDesc()
        self.other.connection.listAllStoragePools()
        self.other.describe("c-old")
        self.other._volume("c-old").info()
        self.other.connection.storageVolLookupByPath(f"{POOL}/c-old").name()
        self.other.download("c-old")
        self.other.create("c-new")
        self.other.copy("c-old", "c-new-copy")
        self.other.delete("c-removed")
        another = self.other.connection.storagePoolDefineXML(xmls.pool("another", target=f"{POOL}-another"))
        another.build()
        another.create()
        one = another.createXML(xmls.volume("one"))
        another.refresh()
        one.delete()
        self.used = True


@pytest.mark.parametrize("what", ["lookup", "describe", "inspect", "info", "refresh", "copy", "export",
                                  "download", "wipe"])
def test_volume_that_does_not_answer(tpm_host, tmp_path, what):
    """Whoever asks for the volume waits, and nobody else, neither for the pool nor for
    another; when the server is back, all is well."""
    tpm_host.define_pool("plain", "dir", IMAGES)
    volumes = Volumes(tpm_host, tmp_path / "image")
    try:
        if what != "lookup":
            volumes.client.refresh()
            volumes.volume = volumes.client._volume("c-stuck")
        volumes.server.stop()
        waits = Deed(getattr(volumes, what))
        assert not waits.ended(1), "the file system answers"
        others = Deed(volumes.use_others)
        assert others.ended(30), "others wait for it"
        assert others.error is None and volumes.used
        # What only looks holds nothing.
        busy = what in ("refresh", "copy", "export", "download", "wipe")
        end = Deed(volumes.other.pool.destroy)
        assert end.ended(10), "the pool cannot be asked to stop"
        if busy:
            assert messages.POOL_BUSY("tpm") in Output(end.error)
        else:
            assert end.error is None
        assert waits.is_alive()
        volumes.server.resume()
        assert waits.ended(30)
        if what == "lookup":
            assert messages.POOL_NOT_ACTIVE("tpm") in Output(waits.error)
        else:
            assert waits.error is None
        if not busy:
            volumes.other.pool.create()
        volumes.other.refresh()
        assert volumes.other.names() == {"c-old", "c-new", "c-new-copy", "c-stuck"} | (
            {"c-copy"} if what == "copy" else set())
        volumes.other.describe("c-stuck")
    finally:
        volumes.server.close()


def test_pool_whose_directory_does_not_answer(tpm_host, tmp_path):
    """It is only whoever starts it that waits."""
    volumes = Volumes(tpm_host, tmp_path / "image")
    try:
        volumes.client.pool.destroy()
        volumes.server.stop()
        waits = Deed(volumes.client.pool.create)
        assert not waits.ended(1), "the file system answers"
        look = Deed(lambda: (volumes.other.connection.listAllStoragePools(), volumes.other.pool.info()))
        assert look.ended(10), "others wait for it"
        assert "is starting up" in tpm_host.virsh_fails("pool-undefine", "tpm")
        volumes.server.resume()
        assert waits.ended(30) and waits.error is None
        assert volumes.other.names() == {"c-old", "c-removed", "c-stuck"}
    finally:
        volumes.server.close()


def test_copies_between_two_pools(tpm_host):
    """Volumes are copied from one pool to another, and back, at the same time: the copies
    do not wait for each other."""
    tpm_host.define_pool("another", target=f"{POOL}-another")
    for pool in ("tpm", "another"):
        tpm_host.create_volume("one", pool)
    others = {"tpm": "another", "another": "tpm"}

    def copy(source):
        connection = libvirt.open("storage:///system")
        volume = connection.storagePoolLookupByName(source).storageVolLookupByName("one")
        target = connection.storagePoolLookupByName(others[source])
        for _ in range(1000):
            # That the name is taken is found when both pools were locked twice.
            with pytest.raises(libvirt.libvirtError, match="already in use"):
                target.createXMLFrom(xmls.volume("one"), volume)

    copies = [Deed(functools.partial(copy, source)) for source in (*others, *others)]
    assert all(copy.ended(60) for copy in copies), "copies wait for each other"
    assert all(copy.done for copy in copies)
    tpm_host.virsh("vol-delete", "one", "--pool", "another")


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_pool_of_no_concern_does_not_answer(tpm_host, tmp_path, kind, link):
    """A guest whose TPM is on another file system starts, though a tpm pool's directory, named by
    itself or by a symbolic link, cannot even be looked at."""
    folder, image = tpm_host.path(IMAGES), tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    folder.mkdir(exist_ok=True)
    far, near = folder / "far", folder / "near"
    far.touch()
    near.symlink_to(far)
    own = folder / "own"
    own.mkdir()
    own.chmod(0o777)
    server = Server(image, far)
    try:
        tpm_host.define_pool("far", target=near if link else far, start=False)
        source = f"<source type='{kind}' path='{own}/other'/>"
        guest = tpm_host.define_guest("other", xmls.tpm_emulator(inner=source))
        server.stop()
        start = Deed(guest.start_paused)
        assert start.ended(30), "the start waits for a pool that it does not need"
        assert guest.state() == "paused"
    finally:
        server.close()


def test_write_to_another_pool(host, tmp_path):
    """While a tpm pool's directory cannot be looked at, nobody who writes elsewhere waits for it."""
    folder, image = host.path(IMAGES), tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    (folder / "plain").mkdir(parents=True)
    (folder / "far").touch()
    (folder / "plain/other").write_bytes(b"x" * 4096)
    (folder / "plain/one").write_bytes(b"x" * 4096)
    server = Server(image, folder / "far")
    try:
        host.define_pool("far", target=folder / "far", start=False)
        host.define_pool("plain", "dir", folder / "plain")
        pools = [libvirt.open("storage:///system").storagePoolLookupByName("plain") for _ in range(2)]
        server.stop()
        wipe = Deed(lambda: pools[0].storageVolLookupByName("one").wipe())
        assert wipe.ended(10) and wipe.error is None
        others = Deed(lambda: (pools[1].storageVolLookupByName("other").wipe(), pools[1].info(),
                               pools[1].connect().listAllStoragePools()))
        assert others.ended(10) and others.error is None, "others wait for it"
        assert not any((folder / "plain/one").read_bytes())
    finally:
        server.close()
