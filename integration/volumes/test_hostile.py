"""Foreign files in a pool's directory: libvirt does not follow, wait for or trust them."""

import contextlib
import os
import re
import shutil
import socket
import stat
import struct
import threading
import time
from pathlib import Path

import pytest

import messages
import xmls
from expected import ANY, error
from host import IMPLICIT, POOL

IMAGES = "/var/lib/libvirt/images"
# A folder that no call on a volume may touch, and what stands in its files.
OUTSIDE = "/var/lib/libvirt/outside"
MARK = "of-somebody-else"
BLANK = "<tpm manufacture='no'/>"
TEBIBYTE = 1 << 40


@pytest.fixture
def tpm_host(host):
    """A host with an active tpm pool, another pool, and files outside of both: a volume with its
    sidecar, and a file that is root's alone. All of it is there and unchanged in the end, and the
    daemon has lived through it."""
    host.define_pool()
    host.define_pool("plain", "dir", IMAGES)
    outside = host.path(OUTSIDE)
    outside.mkdir()
    sidecar = host.path(host.create_volume("volume")).with_name("volume.tpm.xml")
    sidecar.write_text(sidecar.read_text().replace("</volume>", f"<!-- {MARK} --></volume>"))
    for name in ("volume", "volume.tpm.xml"):
        host.path(f"{POOL}/{name}").rename(outside / name)
    host.virsh("pool-refresh", "tpm")
    (outside / "shadow").write_text(f"root:{MARK}:19000:0:99999:7:::\n" * 50)
    (outside / "shadow").chmod(0o600)
    before = host.contents(OUTSIDE)
    daemon = host.run("pidof", "virtstoraged").stdout

    yield host

    try:
        assert host.contents(OUTSIDE) == before
        assert host.run("pidof", "virtstoraged").stdout == daemon
        assert "running" in host.virsh("pool-info", "tpm")
    finally:
        shutil.rmtree(outside)


def put(path, name):
    """The name of a file that comes in place of another, which goes."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    name(path)


def device(kind, major, minor):
    """What makes a device node."""
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        # Its name may be too long.
        here = os.getcwd()
        os.chdir(path.parent)
        sock.bind(path.name)
        os.chdir(here)


def make_folder(path):
    path.mkdir()
    (path / "file").write_text("x")


LINKS = {
    "link-to-volume": lambda path: path.symlink_to(f"{OUTSIDE}/volume"),
    "link-to-file": lambda path: path.symlink_to(f"{OUTSIDE}/shadow"),
    "dangling-link": lambda path: path.symlink_to(f"{OUTSIDE}/nothing"),
    "link-to-folder": lambda path: path.symlink_to(OUTSIDE),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}
SPECIAL = {
    "fifo": os.mkfifo,
    "socket": make_socket,
    "null": device(stat.S_IFCHR, 1, 3),
    "zero": device(stat.S_IFCHR, 1, 5),
    "block-device": device(stat.S_IFBLK, 7, 0),
    "folder": make_folder,
}


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
    path = tpm_host.path(tpm_host.create_volume("one", tpm=BLANK))
    put(path, {**LINKS, **SPECIAL}[what])
    before = tpm_host.contents(POOL)
    said = fails(tpm_host, "one", tmp_path)
    for command, message in said.items():
        if command != "download":
            assert messages.NOT_REGULAR(path, "one", "tpm") in message or messages.PATH_NOT_REGULAR(path) in message
    assert tpm_host.contents(POOL) == before

    tpm_host.virsh("pool-refresh", "tpm")
    assert tpm_host.virsh("vol-list", "tpm") == ""
    assert messages.PATH_NOT_REGULAR(path) in fails(tpm_host, "one", tmp_path)["start"]
    said = tpm_host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("one"))
    # libvirt itself sees what a link leads to.
    assert messages.VOLUME_EXISTS("one") in said or error("VIR_ERR_OPERATION_INVALID", path) in said
    assert tpm_host.contents(POOL) == before


@pytest.mark.parametrize("head", [b"", b"nilmptws\1\0\xc0\0" + struct.pack("<III", 192, 0xffffff00, 0xffffff00), b"\2\1\0\x0a"],
                         ids=["hole", "linear", "blob"])
def test_huge_file(tpm_host, tmp_path, head):
    """A file of a tebibyte, all or nearly all of it a hole, is never read or written whole."""
    save_state(tpm_host, tmp_path)
    path = tpm_host.path(tpm_host.create_volume("one", tpm=BLANK))
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


# Sidecars

def make_huge(path):
    path.write_text("<volume/>")
    os.truncate(path, 1 << 30)


def give_to(user, mode):
    """What gives a file with another TPM's description to somebody."""
    def make(path):
        path.write_bytes(Path(f"{OUTSIDE}/volume.tpm.xml").read_bytes())
        path.chmod(mode)
        os.chown(path, user, -1)
    return make


SIDECARS = {
    **LINKS, **SPECIAL, "link-to-sidecar": lambda path: path.symlink_to(f"{OUTSIDE}/volume.tpm.xml"),
    "huge": make_huge, "of-nobody": give_to(65534, 0o600), "writable-by-all": give_to(0, 0o666),
}


@pytest.mark.parametrize("what", SIDECARS)
def test_sidecar_that_is_not_taken(tpm_host, what):
    """The volume stays usable, with what its bytes tell; the sidecar is replaced where one is
    written, unless it only has a wrong owner or mode, and goes with the volume."""
    # It would be taken by its uuid alone: without certificates nothing says that it is another's.
    foreign = tpm_host.path(f"{OUTSIDE}/volume.tpm.xml").read_text()
    identity = re.search("<uuid>(.*)</uuid>", foreign)[1]
    path = tpm_host.path(tpm_host.create_volume("one"))
    sidecar = path.with_name("one.tpm.xml")
    content = path.read_bytes()
    put(sidecar, SIDECARS[what])

    tpm_host.virsh("pool-refresh", "tpm")
    described = tpm_host.describe("one")
    assert described.find("tpm").get("version") == "2.0"
    assert described.find("tpm/uuid") is None and described.find("tpm/endorsement") is None
    assert identity not in tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm")
    assert "one.tpm.xml" in tpm_host.log("virtstoraged")
    tpm_host.copy_volume("one", "two")
    assert tpm_host.identity("two") not in (None, identity)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    tpm_host.virsh("destroy", "guest")

    if what in ("of-nobody", "writable-by-all"):
        used = path.read_bytes()
        said = tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
        assert messages.DESCRIPTION_OF_OTHERS(sidecar, "one", "tpm", ANY, ANY) in said
        assert path.read_bytes() == used
        tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
        assert not path.exists() and not sidecar.exists()
        return
    tpm_host.virsh("vol-wipe", "one", "--pool", "tpm")
    assert path.read_bytes() == b""
    upload = ["vol-upload", "one", f"{POOL}/two", "--pool", "tpm"]
    if what == "folder":
        assert "Is a directory" in tpm_host.virsh_fails(*upload)
        return
    tpm_host.virsh(*upload)
    assert path.read_bytes() == content
    assert stat.S_ISREG(sidecar.lstat().st_mode)
    assert tpm_host.identity("one") not in (None, identity)
    put(sidecar, SIDECARS[what])
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    assert {file.name for file in path.parent.iterdir()} == {"two", "two.tpm.xml"}


def lay_entities(text, content):
    """A sidecar that has an entity in its uuid, in a fingerprint and in a certificate."""
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
    doctype = f"<!DOCTYPE volume [<!ENTITY e0 '{content}'>{entities}]>\n"
    return doctype + re.sub("(-----BEGIN|<uuid>|fingerprint=')", r"\1&e9;", text)


TEXTS = {
    "entities": lambda text: lay_entities(text, "boom" * 10),
    "external-entity": lambda text: f"<!DOCTYPE volume [<!ENTITY x SYSTEM 'file://{OUTSIDE}/shadow'>]>\n" +
        re.sub("-----BEGIN CERT", "&x;", text),
    "external-doctype": lambda text: f"<!DOCTYPE volume SYSTEM 'file://{OUTSIDE}/shadow'>\n" + text,
    "deep": lambda text: text.replace("<tpm ", "<x>" * 10000 + "<tpm "),
    "attributes": lambda text: text.replace("<tpm ", "<x " + " ".join(f"a{n}='x'" for n in range(5000)) + "/><tpm "),
}


@pytest.mark.parametrize("what", TEXTS)
def test_sidecar_with_a_trap_in_its_xml(tpm_host, what):
    """It is read at once, with nothing of another file. Of an encrypted volume: that does not tell
    whether the certificates are its own."""
    secret = tpm_host.define_secret("open sesame", f"{POOL}/one")
    path = tpm_host.path(tpm_host.create_volume("one", encryption="vtpm", secret=secret))
    sidecar = path.with_name("one.tpm.xml")
    sidecar.write_text(TEXTS[what](sidecar.read_text()))
    assert sidecar.stat().st_size < 65536
    begin = time.monotonic()
    text = tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm")
    assert MARK not in text and "boomboom" not in text
    assert len(text) < 65536
    assert time.monotonic() - begin < 20
    pid = tpm_host.run("pidof", "virtstoraged").stdout.strip()
    used = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]
    assert int(used) < 200 << 10
    # It may be refused, for what is left of the fingerprints.
    tpm_host.run("virsh", "vol-clone", "one", "two", "--pool", "tpm")
    assert not any(MARK in file.read_text(errors="replace") for file in path.parent.iterdir())


def test_sidecar_that_claims_what_the_bytes_deny(tpm_host):
    """Format, encryption and whether there is a TPM are told by the bytes."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    sidecar = path.with_name("one.tpm.xml")
    text = sidecar.read_text()
    secret = tpm_host.define_secret("open sesame", "disk", "volume")
    luks = f"<encryption format='luks'><secret type='passphrase' uuid='{secret}'/></encryption>"
    for claim in (text.replace("<format type='raw'/>", "<format type='qcow2'/>"),
                  text.replace("<format type='raw'/>", f"<format type='raw'/>{luks}"),
                  text.replace("<tpm ", "<tpm manufacture='no' "),
                  text.replace("<tpm ", "<tpm identity='new' "),
                  text.replace("version='2.0'", "version='1.2'").replace("<active_pcr_banks>", "<x>")
                      .replace("</active_pcr_banks>", "</x>"),
                  text.replace("<name>one</name>", "<name>../outside/volume</name>"),
                  text.replace("<target>", f"<target><path>{OUTSIDE}/volume</path>")):
        assert claim != text
        sidecar.write_text(claim)
        described = tpm_host.describe("one")
        assert described.findtext("name") == "one"
        assert described.findtext("target/path") == f"{POOL}/one"
        assert described.find("target/format").get("type") == "raw"
        assert described.find("target/encryption") is None
        assert described.find("tpm").attrib == {"version": "2.0"}
        tpm_host.virsh("vol-clone", "one", "two", "--pool", "tpm")
        assert tpm_host.identity("two") == tpm_host.identity("one")
        assert tpm_host.path(f"{POOL}/two").read_bytes() == path.read_bytes()
        tpm_host.virsh("vol-delete", "two", "--pool", "tpm")


@pytest.mark.parametrize("encrypted", [False, True])
def test_sidecar_of_another_volume(tpm_host, encrypted):
    """Its certificates are not taken for those of this TPM: in clear state it shows when they are
    looked at, in encrypted state when it is opened. One identity runs only once."""
    what = {}
    if encrypted:
        what = {"encryption": "vtpm", "secret": tpm_host.define_secret("open sesame", "tpm-key")}
    path = tpm_host.path(tpm_host.create_volume("one", **what))
    tpm_host.create_volume("two", **what)
    path.with_name("one.tpm.xml").write_text(path.with_name("two.tpm.xml").read_text())
    if encrypted:
        assert messages.OTHER_TPM_THAN_DESCRIBED("one", "tpm") in tpm_host.copy_fails("one", "three", **what)
    else:
        assert tpm_host.identity("one") is None and tpm_host.endorsements("one") == {}
    text = re.sub("<endorsement.*</endorsement>", "", path.with_name("two.tpm.xml").read_text(), flags=re.S)
    path.with_name("one.tpm.xml").write_text(text)
    tpm_host.define_guest("first", xmls.tpm_volume("two")).start()
    tpm_host.define_guest("guest", xmls.tpm_volume("one"))
    assert messages.COPY_RUNS_IN(ANY, "one", "tpm") in tpm_host.virsh_fails("start", "guest")


def test_sidecar_that_names_a_secret(tpm_host):
    """For clear state: nothing is opened with it. One of a disk is not taken."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    sidecar = path.with_name("one.tpm.xml")
    text = sidecar.read_text()
    message = messages.SECRET_FOR_CLEAR("one", "tpm")
    for usage_type in ("vtpm", "volume"):
        secret = tpm_host.define_secret("open sesame", "tpm-key", usage_type)
        sidecar.write_text(text.replace("<format type='raw'/>",
            f"<encryption format='vtpm'><secret type='passphrase' uuid='{secret}'/></encryption>"))
        assert message in tpm_host.copy_fails("one", "two")
        tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
        assert message in tpm_host.virsh_fails("start", "guest")
        tpm_host.virsh("undefine", "guest")
        tpm_host.virsh("secret-undefine", secret)


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
