"""Foreign files in a pool's directory, in place of volumes and of temporary files: libvirt does not
follow, wait for or trust them."""

import contextlib
import os
import re
import struct
import threading
import time

import pytest

import messages
import xmls
from expected import error
from host import IMAGES, IMPLICIT, POOL
from specialfiles import LINKS, MARK, OUTSIDE, SPECIAL, put

TEBIBYTE = 1 << 40


def commands(name, tmp_path):
    """The virsh commands on a volume, each with its input: those that read it, then the others."""
    state = tmp_path / "state"
    copy = xmls.volume("copy")
    plain = xmls.volume("copy", capacity=0)
    return {
        "dumpxml": (["vol-dumpxml", name, "--pool", "tpm"], None),
        "info": (["vol-info", name, "--pool", "tpm"], None),
        "download": (["vol-download", name, tmp_path / "download", "--pool", "tpm", "--sparse"], None),
        "copy": (["vol-create-from", "tpm", "/dev/stdin", name, "--inputpool", "tpm"], copy),
        "export": (["vol-create-from", "plain", "/dev/stdin", name, "--inputpool", "tpm"], plain),
        "start": (["start", "guest"], None),
        "upload": (["vol-upload", name, state, "--pool", "tpm"], None),
        "wipe": (["vol-wipe", name, "--pool", "tpm"], None),
        "scrub": (["vol-wipe", name, "--pool", "tpm", "--algorithm", "nnsa"], None),
        "delete": (["vol-delete", name, "--pool", "tpm"], None),
    }


def fails(host, name, tmp_path):
    """Each command on a volume fails, and says something: {command: message}."""
    host.define_guest(tpm=xmls.tpm_volume(name, version="2.0"))
    said = {command: host.virsh_fails(*arguments, input=text)
            for command, (arguments, text) in commands(name, tmp_path).items()}
    host.virsh("undefine", "guest")
    assert all(said.values()), said
    assert MARK not in str(said)
    # virsh makes the file before it asks.
    if (tmp_path / "download").exists():
        assert (tmp_path / "download").read_bytes() == b""
    assert host.contents(IMAGES, IMPLICIT) == {}
    return said


def save_state(host, tmp_path):
    """What commands() upload."""
    (tmp_path / "state").write_bytes(host.path(f"{OUTSIDE}/volume").read_bytes())


@pytest.mark.parametrize("what", {**LINKS, **SPECIAL})
def test_what_is_no_file(tpm_host, tmp_path, what):
    """In place of a volume that the pool knows, and then as something that it sees itself."""
    save_state(tpm_host, tmp_path)
    path = tpm_host.path(tpm_host.create_volume("one", tpm=xmls.BLANK))
    put(path, {**LINKS, **SPECIAL}[what])
    before = tpm_host.contents(POOL)
    said = fails(tpm_host, "one", tmp_path)
    for command, message in said.items():
        if command != "download":
            assert messages.NOT_REGULAR(path, "one", "tpm") in message
    assert tpm_host.contents(POOL) == before

    tpm_host.virsh("pool-refresh", "tpm")
    assert tpm_host.virsh("vol-list", "tpm") == ""
    assert messages.NOT_REGULAR(path, "one", "tpm") in fails(tpm_host, "one", tmp_path)["start"]
    said = tpm_host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("one"))
    # libvirt itself sees what a link leads to.
    assert messages.VOLUME_EXISTS("one") in said or error("VIR_ERR_OPERATION_INVALID", path) in said
    assert tpm_host.contents(POOL) == before


@pytest.mark.parametrize("head", [b"", b"nilmptws\1\0\xc0\0" + struct.pack("<III", 192, 0xffffff00, 0xffffff00),
                                  b"\2\1\0\x0a"],
                         ids=["hole", "linear", "blob"])
def test_huge_file(tpm_host, tmp_path, head):
    """A file of a tebibyte, all or nearly all of it a hole, is never read or written whole."""
    save_state(tpm_host, tmp_path)
    path = tpm_host.path(tpm_host.create_volume("one", tpm=xmls.BLANK))
    tpm_host.define_guest(tpm=xmls.tpm_volume("one", version="2.0"))
    # A copy has the capacity of its source, unless it is told another one.
    refused = {"copy": messages.CAPACITY("copy", TEBIBYTE, 16 << 20),
               "export": messages.EXPORT_NOT_CLEAR("one", "tpm", "plain", "dir"),
               "start": messages.HOLDS_UNKNOWN("one", "tpm")}

    for command, (arguments, text) in commands("one", tmp_path).items():
        path.unlink(missing_ok=True)
        path.write_bytes(head)
        os.truncate(path, TEBIBYTE)
        tpm_host.virsh("pool-refresh", "tpm")
        if command == "scrub":
            # That would write a tebibyte, as it is asked to.
            continue
        if command in refused:
            assert refused[command] in tpm_host.virsh_fails(*arguments, input=text)
            assert path.stat().st_size == TEBIBYTE
        else:
            tpm_host.virsh(*arguments, input=text)
    assert (tmp_path / "download").stat().st_size == TEBIBYTE
    assert (tmp_path / "download").stat().st_blocks < 10000
    (tmp_path / "download").unlink()
    assert not path.exists()


def test_names(tpm_host):
    """A name that XML, swtpm's options or a terminal cannot have is no volume's."""
    log = tpm_host.path("/var/log/libvirt/virtstoraged.log")
    begin = log.stat().st_size
    pool = os.fsencode(tpm_host.path(POOL))
    content = tpm_host.path(f"{OUTSIDE}/volume").read_bytes()
    good = ["one", "two words", "übung", "100%s", "-n", "'\"<&>", "x" * 230]
    bad = [b"line\nbreak", b"tab\there", b"\x1b[31mred", b"\x7f", b"a,b", b"back\\slash", b".hidden",
           b"latin-\xfc", b"\xc3", b"\xed\xa0\x80", b"x" * 231, b"y" * 255, b"alone.tpm.xml"]
    for name in (*map(os.fsencode, good), *bad):
        with open(b"/".join((pool, name)), "wb") as file:
            file.write(content)
    tpm_host.virsh("pool-refresh", "tpm")
    script = "import libvirt; print(*libvirt.open().storagePoolLookupByName('tpm').listVolumes(), sep='\\n')"
    listed = tpm_host.run("/usr/bin/python3", "-X", "utf8", "-c", script).stdout.splitlines()
    assert sorted(listed) == sorted(good)
    for name in good:
        assert tpm_host.describe(f"--vol={name}").findtext("name") == name
    for name in bad:
        assert tpm_host.virsh_fails("vol-dumpxml", os.fsdecode(name), "--pool", "tpm")
    # Which is read by line, in a terminal.
    for line in log.read_bytes()[begin:].splitlines():
        assert re.match(rb"20\d\d-", line) and not re.search(rb"[\0-\x1f\x7f]", line), line
        line.decode("utf-8")


# Temporaries

@pytest.mark.parametrize("what", {**LINKS, **SPECIAL})
def test_temporary_that_is_no_file(tpm_host, what):
    """Whoever it points to, it is neither overwritten nor removed."""
    tpm_host.create_volume("one")
    path = tpm_host.path(f"{POOL}/.x.Ab12Cd.tmptpm")
    put(path, {**LINKS, **SPECIAL}[what])
    before = tpm_host.contents(POOL)
    tpm_host.virsh("pool-refresh", "tpm")
    assert tpm_host.contents(POOL) == before
    assert tpm_host.virsh("vol-list", "tpm").split()[0] == "one"
    tpm_host.create_volume("x")


def test_temporary_that_is_a_volume(tpm_host):
    """Another name of a volume, or of a file outside: only the name goes, and while it is in use
    not even that."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    content = path.read_bytes()
    left = path.with_name(".x.Ab12Cd.tmptpm")
    for file in (path, tpm_host.path(f"{OUTSIDE}/volume")):
        os.link(file, left)
        with open(file, "r+b") as held:
            tpm_host.lock(held)
            tpm_host.virsh("pool-refresh", "tpm")
            assert left.exists()
        tpm_host.virsh("pool-refresh", "tpm")
        assert not left.exists()
    assert path.read_bytes() == content


# A name that changes what it stands for, while it is used

class Flipper:
    """Makes a name stand for a file and for a link in turns, as fast as it can, in a thread. A
    context manager."""

    def __init__(self, path, target):
        self._path = path
        self._target = target
        self._content = path.read_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._flip)
        self.flips = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _flip(self):
        # A volume that was wiped gets its content back: to see what the next one overwrites.
        link, aside = self._path.with_name(".link"), self._path.with_name(".aside")
        while not self._stop.is_set():
            with contextlib.suppress(FileNotFoundError):
                os.symlink(self._target, link)
                os.rename(self._path, aside)
                if aside.stat().st_size == 0:
                    aside.write_bytes(self._content)
                os.rename(link, self._path)
                time.sleep(0.0005)
                os.rename(aside, self._path)
                time.sleep(0.0005)
                self.flips += 1
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)


FLIP = """
import libvirt, sys, time
pool, name, action, content, seconds = sys.argv[1:]
libvirt.registerErrorHandler(lambda *_: None, None)
conn = libvirt.open("storage:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName(name)
plain = conn.storagePoolLookupByName("plain")
content = open(content, "rb").read()

def upload():
    stream = conn.newStream()
    volume.upload(stream, 0, 0)
    stream.send(content)
    stream.finish()

def download():
    stream = conn.newStream()
    volume.download(stream, 0, 0)
    found = []
    stream.recvAll(lambda stream, data, opaque: found.append(data), None)
    stream.finish()
    assert b"of-somebody-else" not in b"".join(found), "a link was followed"

def export():
    copy = plain.createXMLFrom("<volume><name>copy</name><capacity>0</capacity></volume>", volume)
    copied = open(copy.path(), "rb").read()
    copy.delete()
    assert b"of-somebody-else" not in copied, "a link was followed"

actions = {
    "wipe": volume.wipe, "scrub": lambda: volume.wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_NNSA),
    "upload": upload, "download": download, "export": export, "dumpxml": volume.XMLDesc,
}
end = time.monotonic() + float(seconds)
done = failed = 0
while time.monotonic() < end:
    try:
        actions[action]()
        done += 1
    except libvirt.libvirtError as err:
        failed += 1
        # When an upload ends the pool is refreshed, and may know the name no longer.
        if err.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            volume.storagePoolLookupByVolume().refresh()
print(done, failed)
"""


@pytest.mark.parametrize("action", ["wipe", "scrub", "upload", "download", "export", "dumpxml"])
def test_name_that_flips(tpm_host, tmp_path, action):
    """Between a volume and a link to a file outside: that is never read or written."""
    save_state(tpm_host, tmp_path)
    path = tpm_host.path(tpm_host.create_volume("one"))
    with Flipper(path, f"{OUTSIDE}/shadow") as flipper:
        done = tpm_host.run("/usr/bin/python3", "-c", FLIP, POOL, "one", action, tmp_path / "state", 3)
    assert done.returncode == 0, done.stderr
    assert flipper.flips > 100
    succeeded, failed = map(int, done.stdout.split())
    assert failed > 0 or action in ("scrub", "dumpxml"), f"{succeeded} calls, and none saw the link"
