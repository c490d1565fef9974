"""Disk space for the state of a TPM: the layout of a volume, the effects of a full file system and of a
swtpm that was interrupted, and state that this host cannot use."""

import base64
import contextlib
import errno
import os
import signal
import struct
import subprocess

import pytest

import messages
import xmls
from host import FORMS, POOL, TOP, permanent_blob, wait_for

HEADER = 192
ROOM = 256 << 10
# The header's entry of the permanent state: offset, length, length of the section.
ENTRY = struct.Struct("<III")


def entry(content):
    return ENTRY.unpack_from(content, 12)


def with_entry(content, *fields):
    return content[:12] + ENTRY.pack(*fields) + content[12 + ENTRY.size:]


def as_before(content):
    """The same state as swtpm lays it out by itself: in the least power of two."""
    blob = permanent_blob(content)
    section = 1 << (len(blob) - 1).bit_length()
    return with_entry(content, HEADER, len(blob), section)[:HEADER] + blob.ljust(section, b"\0")


def has_room(path):
    """Whether a volume has its permanent state in a section of 256 KiB, with its blocks."""
    content, info = path.read_bytes(), path.stat()
    return (entry(content)[::2] == (HEADER, ROOM) and info.st_size == HEADER + ROOM and
            info.st_blocks * 512 >= info.st_size)


@contextlib.contextmanager
def small_pool(host, tmp_path, kind="ext4", options=()):
    """With a file system of 16 MiB of its own below the pool's directory."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run([f"mkfs.{kind}", "-q", "-F", "-m", "0", *options, image], check=True)
    host.define_pool(start=False)
    host.virsh("pool-build", "tpm")
    assert host.run("mount", "-n", "-o", "loop", image, POOL).returncode == 0
    try:
        host.path(POOL).chmod(0o711)
        host.virsh("pool-start", "tpm")
        yield
        host.virsh("pool-destroy", "tpm")
    finally:
        host.run("umount", "-n", POOL)


def fill(host):
    """Take the last block of the pool's file system; returns the file that has it."""
    path = host.path(f"{POOL}/.fill")
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        os.fsync(file.fileno())
    assert os.statvfs(path).f_bavail == 0
    return path


# How state lies in a volume

def test_what_is_made_has_room(tpm_host):
    secret = tpm_host.define_secret("open sesame", "key")
    encrypted = {"encryption": "vtpm", "secret": secret}
    paths = [tpm_host.create_volume("clear"),
             tpm_host.create_volume("encrypted", **encrypted),
             tpm_host.create_volume("old", tpm="<tpm version='1.2'/>"),
             tpm_host.copy_volume("clear", "copied"),
             tpm_host.copy_volume("clear", "converted", **encrypted),
             tpm_host.copy_volume("encrypted", "decrypted")]
    for path in paths:
        assert has_room(tpm_host.path(path)), path
    tpm_host.opens_in_swtpm(tpm_host.path(paths[4]), "open sesame")


@pytest.mark.parametrize("form", [*FORMS, "before"])
def test_what_is_brought_has_room(tpm_host, tmp_path, form):
    """By upload, import and copy of a volume of before; uploaded again it is the same."""
    made = tpm_host.path(tpm_host.create_volume("one")).read_bytes()
    file = tmp_path / "state"
    file.write_bytes({**FORMS, "before": as_before}[form](as_before(made)))
    tpm_host.create_volume("two", tpm=xmls.BLANK)
    tpm_host.virsh("vol-upload", "two", file, "--pool", "tpm")
    uploaded = tpm_host.path(f"{POOL}/two")
    assert has_room(uploaded) and uploaded.read_bytes() == made
    tpm_host.virsh("vol-download", "two", tmp_path / "back", "--pool", "tpm")
    assert (tmp_path / "back").read_bytes() == made
    tpm_host.virsh("vol-upload", "two", tmp_path / "back", "--pool", "tpm")
    assert has_room(uploaded) and uploaded.read_bytes() == made

    tpm_host.define_pool("files", "dir", str(tmp_path))
    imported = tpm_host.path(tpm_host.copy_volume("state", "three", inputpool="files"))
    assert has_room(imported) and imported.read_bytes() == made

    uploaded.write_bytes(as_before(made))
    copied = tpm_host.path(tpm_host.copy_volume("two", "four"))
    assert has_room(copied) and copied.read_bytes() == made


# A full file system

@pytest.mark.guest
@pytest.mark.parametrize("kind", ["ext4", "ext3"])
@pytest.mark.parametrize("made", ["now", "before"])
def test_full_file_system(host, tmp_path, kind, made):
    """The state of a TPM grows on a full file system, and nothing is lost. ext3
    is one that cannot allocate."""
    with small_pool(host, tmp_path, kind):
        path = host.path(host.create_volume("one"))
        guest = host.define_guest(tpm=xmls.tpm_volume("one"))
        if made == "before":
            path.write_bytes(as_before(path.read_bytes()))
        guest.start("seal,nvfill:12")
        filled = fill(host)
        guest.wait_off()
        report = dict(line.partition(" ")[::2] for line in guest.console())
        assert report["nvfill"] == "12" and entry(path.read_bytes())[1] > 24 << 10
        assert has_room(path)
        assert guest.boot("unseal")["unsealed"] == report["sealed"]
        filled.unlink()
        assert guest.boot("unseal")["unsealed"] == report["sealed"]


@pytest.mark.guest
@pytest.mark.parametrize("kind", ["ext4", "ext3"])
def test_start_without_room(host, tmp_path, kind):
    """What has no room starts no guest, and says so; it is as it was."""
    with small_pool(host, tmp_path, kind):
        path = host.path(host.create_volume("one"))
        path.write_bytes(as_before(path.read_bytes()))
        guest = host.define_guest(tpm=xmls.tpm_volume("one"))
        filled = fill(host)
        before = path.read_bytes()
        said = host.virsh_fails("start", "guest")
        assert messages.CANNOT_ALLOCATE_VOLUME(262336, "one", "tpm", errno=errno.ENOSPC) in said
        left = path.read_bytes()
        assert left[:len(before)] == before and not left[len(before):].strip(b"\0")
        assert host.virsh_fails("vol-create-as", "tpm", "two", "1M").endswith("No space left on device")
        filled.unlink()
        guest.boot("info")
        assert has_room(path)


# What has QEMU read the TPM of a running guest, into a file.
READING = [("save", "guest", "{}"), ("managedsave", "guest"), ("dump", "guest", "{}")]


@pytest.mark.parametrize("kind", ["ext4", "ext3"])
def test_save_on_a_full_file_system(host, tmp_path, kind):
    """swtpm would be killed where it writes what QEMU asks for: that is refused, and the guest
    goes on; with room for it, it succeeds."""
    image = tmp_path / "saved"
    with small_pool(host, tmp_path, kind):
        path = host.path(host.create_volume("one"))
        guest = host.define_guest(tpm=xmls.tpm_volume("one"))
        guest.start_paused()
        filled = fill(host)
        before = path.read_bytes()
        for command in READING:
            said = host.virsh_fails(*(word.format(image) for word in command))
            assert messages.CANNOT_RESERVE(64 << 10, "one", "tpm", errno=errno.ENOSPC) in said
            assert guest.state() == "paused" and host.run("pgrep", "-x", "swtpm").stdout
        assert path.read_bytes() == before
        os.truncate(filled, filled.stat().st_size - (128 << 10))
        for _ in range(3):
            host.virsh("save", "guest", image)
            host.virsh("restore", image, "--paused")
        host.virsh("destroy", "guest")
        assert has_room(path)


def test_save_of_a_tpm_whose_file_is_gone(tpm_host, tmp_path):
    """swtpm still has it: the guest can be saved, and restored once the file is back."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start_paused()
    path.rename(tmp_path / "aside")
    tpm_host.virsh("save", "guest", tmp_path / "saved")
    (tmp_path / "aside").rename(path)
    tpm_host.virsh("restore", tmp_path / "saved", "--paused")
    assert guest.state() == "paused"


# A swtpm that was interrupted

def with_volatile_state(content):
    """What swtpm leaves if it is killed while QEMU reads the TPM, before that is written."""
    section = (len(content), 8730, 16 << 10)
    return content[:24] + ENTRY.pack(*section) + content[36:] + bytes(section[2])


def test_volatile_state_that_was_left(tpm_host, tmp_path):
    """It is of no use to anybody, and does not get into copies."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    made = path.read_bytes()
    left = with_volatile_state(made)
    path.write_bytes(left)
    assert tpm_host.virsh("vol-dumpxml", "one", "tpm", "--inspect")
    copied = tpm_host.path(tpm_host.copy_volume("one", "two"))
    assert copied.read_bytes() == made
    (tmp_path / "state").write_bytes(left)
    tpm_host.virsh("vol-upload", "two", tmp_path / "state", "--pool", "tpm")
    assert copied.read_bytes() == made
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start_paused()
    assert path.read_bytes()[:36] == made[:36]


def tpm2(folder, *command):
    """A tool of tpm2-tools talks to swtpm."""
    return subprocess.run(command, env={**os.environ, "TPM2TOOLS_TCTI": f"swtpm:path={folder}/server"},
                          capture_output=True, text=True, check=False, timeout=60)


def interrupted(content, folder):
    """What swtpm leaves when it cannot make the file of a volume of before longer."""
    file = folder / "interrupted"
    file.write_bytes(as_before(content))
    swtpm = subprocess.Popen(
        ["prlimit", f"--fsize={file.stat().st_size + 100}",
         "swtpm", "socket", "--tpm2", "--tpmstate", f"backend-uri=file://{file}",
         "--ctrl", f"type=unixio,path={folder}/server.ctrl", "--server", f"type=unixio,path={folder}/server",
         "--flags", "not-need-init,startup-clear", "--log", f"file={folder}/log"])
    try:
        wait_for("swtpm listens", (folder / "server.ctrl").exists, timeout=10, every=0.02)
        for number in range(80):
            if tpm2(folder, "tpm2_nvdefine", "-C", "o", "-s", "2048", hex(0x01500200 + number)).returncode:
                break
        assert swtpm.wait(10) == -signal.SIGXFSZ
    finally:
        swtpm.kill()
        swtpm.wait()
    left = file.read_bytes()
    assert entry(left)[0] == 0, "it was not interrupted where it matters"
    return left


def test_lost_entry(tpm_host, tmp_path):
    """A volume whose header has lost its state is not blank, and can be repaired."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    identity, endorsements = tpm_host.identity("one"), tpm_host.endorsements("one")
    lost = interrupted(path.read_bytes(), tmp_path)
    path.write_bytes(lost)
    tpm_host.virsh("pool-refresh", "tpm")
    assert tpm_host.describe("one").find("tpm").get("manufacture") is None
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    for said in tpm_host.virsh_fails("start", "guest"), tpm_host.copy_fails("one", "two"):
        assert messages.HEADER_LOST("one", "tpm") in said
    assert path.read_bytes() == lost

    done = tpm_host.run("virt-tpm-volume", "repair", "one")
    assert (done.returncode, done.stdout) == (0, "one: repaired\n"), done.stderr
    assert has_room(path) and permanent_blob(path.read_bytes()) in lost
    assert (tpm_host.identity("one"), tpm_host.endorsements("one")) == (identity, endorsements)
    tpm_host.copy_volume("one", "two")
    done = tpm_host.run("virt-tpm-volume", "repair", "one", "none")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "one: nothing to repair: its header is in order",
        f"none: FAILED: {messages.TOOL_NO_VOLUME.plain()}"]


def test_repair_of_encrypted_state(tpm_host):
    secret = tpm_host.define_secret("open sesame", "key")
    path = tpm_host.path(tpm_host.create_volume("one", encryption="vtpm", secret=secret))
    made = path.read_bytes()
    path.write_bytes(with_entry(made, 0, 0, 0))
    done = tpm_host.run("virt-tpm-volume", "repair", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes() == made


def test_repair_of_what_is_no_state(tpm_host):
    """The next one is looked at all the same."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    with open(path.with_name("large"), "wb") as file:
        file.truncate(20 << 20)
    tpm_host.virsh("pool-refresh", "tpm")
    done = tpm_host.run("virt-tpm-volume", "repair", "large", "one")
    assert done.returncode == 1
    large, one = done.stdout.splitlines()
    assert large.startswith("large: FAILED: ")
    assert one == "one: nothing to repair: its header is in order"


def test_nothing_to_repair(tpm_host, tmp_path):
    """What holds no state, or only a part of it, stays as it is."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    made = as_before(path.read_bytes())
    for content, message in ((b"", messages.VOLUME_IS_BLANK()),
                             (with_entry(made, 0, 0, 0)[:-4000], messages.UPLOAD_DAMAGED("one", "tpm"))):
        path.write_bytes(content)
        done = tpm_host.run("virt-tpm-volume", "repair", "one")
        assert done.returncode == 1 and message in done.stdout
        assert path.read_bytes() == content


# State that this host cannot use

def newer_state():
    text = (TOP / "tests/virtpmstatedata/tpm2-newer.base64").read_text()
    return base64.b64decode(text)


def reads_newer_state(host):
    """Whether this host's libtpms is as new as the state's, which profiles came with."""
    return host.swtpm_can("cmdarg-profile")


def import_fails(host, tmp_path, content, **what):
    """Importing a file's content must fail, and makes nothing; returns the error message."""
    (tmp_path / "state").write_bytes(content)
    host.define_pool("files", "dir", str(tmp_path))
    before = host.contents(POOL)
    said = host.copy_fails("state", "imported", inputpool="files", **what)
    assert host.contents(POOL) == before
    return said


def test_import_of_newer_state(tpm_host, tmp_path):
    if reads_newer_state(tpm_host):
        pytest.skip("libtpms of this host reads it")
    said = import_fails(tpm_host, tmp_path, newer_state())
    assert messages.NEWER_LIBTPMS("imported", "tpm", 4, 3) in said


def test_start_of_newer_state(tpm_host):
    """Put into the pool by hand."""
    if reads_newer_state(tpm_host):
        pytest.skip("libtpms of this host reads it")
    tpm_host.path(f"{POOL}/one").write_bytes(newer_state())
    tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    assert messages.NEWER_LIBTPMS("one", "tpm", 4, 3) in tpm_host.virsh_fails("start", "guest")


def aes128_state(folder):
    """State as swtpm_setup encrypts it unless it is told the cipher."""
    (folder / "key").write_text("open sesame")
    subprocess.run(["swtpm_setup", "--tpm2", "--tpm-state", f"file://{folder}/short", "--pwdfile",
                    folder / "key"], check=True, capture_output=True)
    return (folder / "short").read_bytes()


def test_aes_128(tpm_host, tmp_path):
    """Refused before anything is replaced."""
    encrypted = {"encryption": "vtpm", "secret": tpm_host.define_secret("open sesame", "key")}
    short = aes128_state(tmp_path)
    assert not permanent_blob(short)[5] & 8, "swtpm_setup has another default now: name the cipher"
    path = tpm_host.path(tpm_host.create_volume("one", **encrypted))
    made = path.read_bytes()
    for form in FORMS:
        (tmp_path / "state").write_bytes(FORMS[form](short))
        said = tpm_host.virsh_fails("vol-upload", "one", tmp_path / "state", "--pool", "tpm")
        assert messages.AES_128("one") in said
        assert path.read_bytes() == made
    assert messages.AES_128(tmp_path / "state") in import_fails(tpm_host, tmp_path, short, **encrypted)
    path.write_bytes(short)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    assert messages.AES_128("tpm/one") in tpm_host.virsh_fails("start", "guest")


def test_long_blob(tpm_host, tmp_path):
    """State of more than 1 MiB is none; the volume keeps what it has."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    made = path.read_bytes()
    blob = permanent_blob(made)
    size = 9 << 20
    rest = struct.pack(">HI", 99, size - len(blob) - 6).ljust(size - len(blob), b"\0")
    (tmp_path / "state").write_bytes(blob[:6] + struct.pack(">I", size) + blob[10:] + rest)
    said = tpm_host.virsh_fails("vol-upload", "one", tmp_path / "state", "--pool", "tpm")
    assert messages.UPLOAD_FOREIGN("one", "tpm", "unknown") in said and path.read_bytes() == made
