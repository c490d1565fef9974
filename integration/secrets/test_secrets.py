"""Secrets of encrypted volumes: how they are named, which values they may have, and that the values
reach no file and no process but the one that needs them."""

import base64
import contextlib
import os
import random
import subprocess
import threading
import time
import uuid

import pytest

import messages
import xmls
from expected import ANY, LINES
from host import DAEMONS, POOL, wait_for


def encrypted(**names):
    """What encrypts a volume with secret=UUID or usage=NAME."""
    return {"encryption": "vtpm", **names}


def set_value(host, secret, value):
    """Set the value of a secret; virsh takes none that has over 1024 bytes."""
    script = """
import libvirt, sys
libvirt.open().secretLookupByUUIDString(sys.argv[1]).setValue(sys.stdin.buffer.read())
"""
    done = host.run("/usr/bin/python3", "-c", script, secret, input=value)
    assert done.returncode == 0, done.stderr


def starts(host, volume):
    """A guest starts on a volume."""
    host.define_guest(tpm=xmls.tpm_volume(volume, version="2.0")).start()
    host.virsh("destroy", "guest")
    host.virsh("undefine", "guest")


def start_error(host, volume):
    """A guest does not start on a volume; returns the error."""
    host.define_guest(tpm=xmls.tpm_volume(volume, version="2.0"))
    said = host.virsh_fails("start", "guest")
    host.virsh("undefine", "guest")
    return said


# How a volume names its secret

@pytest.mark.parametrize("by", ["uuid", "usage"])
def test_named_by(tpm_host, tmp_path, by):
    """Wherever a secret is needed, both names of it do."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    other = tpm_host.define_secret("other", "other-key")
    names = {"secret": secret} if by == "uuid" else {"usage": "tpm-key"}
    tpm_host.create_volume("one", **encrypted(**names))
    tpm_host.create_volume("clear")
    tpm_host.copy_volume("clear", "converted", **encrypted(**names))
    tpm_host.copy_volume("one", "rekeyed", **encrypted(secret=other))
    tpm_host.copy_volume("one", "decrypted")
    tpm_host.create_volume("uploaded", tpm=xmls.BLANK, **encrypted(**names))
    tpm_host.virsh("vol-download", "one", tmp_path / "state", "--pool", "tpm")
    tpm_host.virsh("vol-upload", "uploaded", tmp_path / "state", "--pool", "tpm")

    for name, value in (("one", "open sesame"), ("converted", "open sesame"), ("rekeyed", "other"),
                        ("decrypted", None), ("uploaded", "open sesame")):
        tpm_host.opens_in_swtpm(f"{POOL}/{name}", value)
    for name in ("one", "converted", "uploaded"):
        described = tpm_host.describe(name).find("target/encryption/secret")
        assert described.attrib == {"type": "passphrase", by: secret if by == "uuid" else "tpm-key"}
        starts(tpm_host, name)


def test_many_volumes_on_one_secret(tpm_host):
    """By either name; a copy from one to another is the same TPM."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    for name in ("volume0", "volume1"):
        tpm_host.create_volume(name, **encrypted(secret=secret))
    for name in ("volume2", "volume3"):
        tpm_host.create_volume(name, **encrypted(usage="tpm-key"))
    tpm_host.copy_volume("volume0", "copy", **encrypted(usage="tpm-key"))
    for name in ("volume0", "volume1", "volume2", "volume3", "copy"):
        starts(tpm_host, name)


def test_without_usage_type(tpm_host):
    secret = tpm_host.define_secret("open sesame")
    tpm_host.create_volume("one", **encrypted(secret=secret))
    tpm_host.copy_volume("one", "two")
    starts(tpm_host, "one")
    said = tpm_host.virsh_fails("vol-create", "tpm", "/dev/stdin",
                                input=xmls.volume("three", **encrypted(usage="tpm-key")))
    assert messages.SECRET_NOT_DEFINED("usage='tpm-key'", "three", "tpm") in said


def test_usage_type_volume_is_refused(tpm_host):
    """The secret of a disk is not taken for a TPM, by whom it may be asked for."""
    secret = tpm_host.define_secret("open sesame", "disk", "volume")
    message = messages.SECRET_OF_OTHER_USAGE(f"uuid='{secret}'", "two", "tpm", "volume")
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    assert message in tpm_host.virsh_fails("vol-create", "tpm", "/dev/stdin",
                                           input=xmls.volume("two", **encrypted(secret=secret)))
    assert message in tpm_host.copy_fails("one", "two", **encrypted(secret=secret))
    assert messages.SECRET_NOT_DEFINED("usage='disk'", "two", "tpm") in \
        tpm_host.copy_fails("one", "two", **encrypted(usage="disk"))
    assert tpm_host.contents(POOL) == before


# Secrets that come, go and change

@pytest.mark.parametrize("private", ["yes", "no"])
@pytest.mark.parametrize("ephemeral", ["yes", "no"])
def test_ephemeral_and_private(tpm_host, ephemeral, private):
    """An ephemeral one goes with its daemon, and it is said which one is missing."""
    secret = str(uuid.uuid4())
    tpm_host.virsh("secret-define", "/dev/stdin",
                   input=xmls.secret(secret, "tpm-key", ephemeral=ephemeral, private=private))
    tpm_host.set_secret(secret, "open sesame")
    tpm_host.create_volume("one", **encrypted(secret=secret))
    tpm_host.copy_volume("one", "two")
    starts(tpm_host, "one")

    tpm_host.daemon("restart", "virtsecretd")
    if ephemeral == "no":
        tpm_host.copy_volume("one", "three")
        starts(tpm_host, "one")
        return
    message = messages.SECRET_NOT_DEFINED(f"uuid='{secret}'", "one", "tpm")
    assert message in tpm_host.copy_fails("one", "three")
    assert message in start_error(tpm_host, "one")


def test_secret_that_comes_later(tpm_host):
    """To a volume that has lost its sidecar and is named by its path."""
    secret = tpm_host.define_secret("open sesame", f"{POOL}/one")
    path = tpm_host.path(tpm_host.create_volume("one", **encrypted(secret=secret)))
    path.with_name("one.tpm.xml").unlink()
    tpm_host.virsh("secret-undefine", secret)
    tpm_host.daemon("restart", "virtstoraged")

    message = messages.NO_SECRET_KNOWN("one", "tpm", f"{POOL}/one")
    assert tpm_host.describe("one").find("target/encryption/secret") is None
    assert message in tpm_host.copy_fails("one", "two")
    assert message in start_error(tpm_host, "one")

    secret = tpm_host.define_secret("open sesame", f"{POOL}/one")
    assert tpm_host.describe("one").find("target/encryption/secret").get("uuid") == secret
    tpm_host.copy_volume("one", "two")
    starts(tpm_host, "one")


@pytest.mark.parametrize("by", ["uuid", "usage"])
def test_secret_that_goes(tpm_host, tmp_path, by):
    """Its volume can still be looked at, saved and removed."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    name = secret if by == "uuid" else "tpm-key"
    what = encrypted(**{"secret" if by == "uuid" else "usage": name})
    path = tpm_host.path(tpm_host.create_volume("one", **what))
    tpm_host.virsh("secret-undefine", secret)

    assert tpm_host.describe("one").find("target/encryption/secret").get(by) == name
    assert "capacity" in tpm_host.virsh("vol-info", "one", "--pool", "tpm").lower()
    message = messages.SECRET_NOT_DEFINED(f"{by}='{name}'", "one", "tpm")
    assert message in tpm_host.copy_fails("one", "two")
    assert message in tpm_host.copy_fails("one", "two", **what)
    assert message in start_error(tpm_host, "one")
    tpm_host.virsh("vol-download", "one", tmp_path / "state", "--pool", "tpm")
    assert (tmp_path / "state").read_bytes() == path.read_bytes()
    tpm_host.virsh("vol-wipe", "one", "--pool", "tpm")
    assert path.read_bytes() == b""
    assert message in tpm_host.virsh_fails("vol-upload", "one", tmp_path / "state", "--pool", "tpm")
    assert path.read_bytes() == b""
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    assert tpm_host.contents(POOL) == {}


def test_daemon_of_secrets_that_is_off(tpm_host):
    """A volume can be looked at; what needs the passphrase fails, and works later."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", **encrypted(secret=secret))
    tpm_host.daemon("stop", "virtsecretd")
    try:
        assert tpm_host.describe("one").find("target/encryption/secret").get("uuid") == secret
        assert "virtsecretd" in tpm_host.copy_fails("one", "two")
        assert "virtsecretd" in start_error(tpm_host, "one")
    finally:
        tpm_host.daemon("start", "virtsecretd")
    tpm_host.copy_volume("one", "two")
    starts(tpm_host, "one")


def test_value_that_changes(tpm_host):
    """The volume keeps the passphrase that it was made with."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", **encrypted(secret=secret))
    before = tpm_host.contents(POOL)
    tpm_host.set_secret(secret, "something else")
    message = messages.WRONG_PASSPHRASE("one", "tpm")
    assert message in tpm_host.copy_fails("one", "two")
    assert message in start_error(tpm_host, "one")
    # A file has its owner from the first start.
    assert {path: facts[5] for path, facts in tpm_host.contents(POOL).items()} == \
        {path: facts[5] for path, facts in before.items()}
    tpm_host.create_volume("two", **encrypted(secret=secret))
    tpm_host.opens_in_swtpm(f"{POOL}/two", "something else")
    tpm_host.set_secret(secret, "open sesame")
    tpm_host.copy_volume("one", "three")
    starts(tpm_host, "one")


# Values of all kinds

@pytest.mark.parametrize("value", [
    b"x", b"open sesame\n", b"\n", b"open\0sesame\0\n", b"\0", bytes(range(256)), b"\xff\xfe\xc3",
    bytes(range(256)) * 40, bytes(range(255, -1, -1)) * 256,
], ids=["one", "newline-behind", "newline", "zero-bytes", "zero-byte", "all-bytes", "no-utf8",
        "10k", "64k"])
def test_value_of_any_bytes(tpm_host, value):
    """All of it, and nothing more, is the passphrase wherever it is needed: by swtpm_setup, by
    the swtpm of a copy and by that of a guest."""
    secret = tpm_host.define_secret("another", "tpm-key")
    set_value(tpm_host, secret, value)
    path = tpm_host.create_volume("one", **encrypted(secret=secret))
    tpm_host.opens_in_swtpm(path, value)
    tpm_host.create_volume("clear")
    for name, source in (("two", "clear"), ("three", "one")):
        path = tpm_host.copy_volume(source, name, **encrypted(secret=secret))
        tpm_host.opens_in_swtpm(path, value)
    tpm_host.copy_volume("one", "four")
    starts(tpm_host, "one")
    for other in (value + b"x", value[:-1] + bytes([value[-1] ^ 1])):
        with pytest.raises(AssertionError):
            tpm_host.opens_in_swtpm(f"{POOL}/one", other)


def test_value_that_is_empty_or_missing(tpm_host):
    """The secret driver takes no empty value. A file of it that is empty, and a secret that never
    had a value, neither make a volume nor open one."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    other = tpm_host.define_secret("other", "other-key")
    tpm_host.create_volume("one", **encrypted(secret=secret))
    assert "NULL" in tpm_host.virsh_fails("secret-set-value", secret, "--file", "/dev/null")

    before = tpm_host.contents(POOL)
    one, two = (messages.SECRET_WITHOUT_VALUE(f"uuid='{secret}'", name, "tpm") for name in ("one", "two"))
    tpm_host.path(f"/etc/libvirt/secrets/{secret}.base64").write_text("")
    tpm_host.daemon("restart", "virtsecretd")
    for _ in ("empty", "never set"):
        assert two in tpm_host.virsh_fails(
            "vol-create", "tpm", "/dev/stdin", input=xmls.volume("two", **encrypted(secret=secret)))
        assert one in tpm_host.copy_fails("one", "two", **encrypted(secret=secret))
        assert one in tpm_host.copy_fails("one", "two", **encrypted(secret=other))
        assert one in start_error(tpm_host, "one")
        tpm_host.virsh("secret-undefine", secret)
        tpm_host.virsh("secret-define", "/dev/stdin", input=xmls.secret(secret, "tpm-key"))
    assert tpm_host.contents(POOL) == before


# Where no value of a secret may be

# The folders of libvirt, but for those where virtsecretd keeps the values themselves.
FOLDERS = ("/var/log/libvirt", "/var/log/swtpm", "/run/libvirt", "/var/lib/libvirt",
           "/var/lib/swtpm-localca", "/var/cache/libvirt", "/etc/libvirt")
OWN = ("/run/libvirt/secrets", "/etc/libvirt/secrets")


def forms(value):
    """A value as it may stand in a text: raw, in hexadecimal, and in base64, whatever is
    before and behind it."""
    hexadecimal = value.hex().encode()
    # Of its base64 only what is whole groups of three bytes of the value.
    shifted = [base64.b64encode(bytes(shift) + value)[4:(shift + len(value)) // 3 * 4] for shift in range(3)]
    return [value, hexadecimal, hexadecimal.upper(), *shifted]


def files(folder):
    """All that is in a folder, while it comes and goes."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if f"{where}/{name}" not in OWN]
        for name in (*folders, *names):
            yield f"{where}/{name}"


def open_at_once(path, flags):
    """An opener that does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class Watcher:
    """Looks for bytes in the command lines, environments and run-time files of all processes,
    as often as it can, in a thread. A context manager."""

    def __init__(self, host, needles):
        self.host = host
        self.found = set()
        self.programs = set()
        self.rounds = 0
        self._needles = needles
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        assert self._thread.is_alive(), "it has not watched to the end"
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.is_set():
            for process in os.listdir("/proc"):
                if process.isdigit():
                    arguments = self.look_at(f"/proc/{process}/cmdline")
                    self.programs.add(os.path.basename(arguments.split(b"\0")[0]).decode())
                    self.look_at(f"/proc/{process}/environ")
            for path in files(self.host.path("/run/libvirt")):
                self.look_at(path)
            self.rounds += 1

    def look_at(self, path):
        """Look at a file's name and content; returns the content."""
        content = b""
        # It may be gone, or a socket; in /tmp others have files, maybe large ones.
        with contextlib.suppress(OSError), open(path, "rb", opener=open_at_once) as file:
            content = file.read(256 << 20)
        if any(needle in content or needle in path.encode() for needle in self._needles):
            self.found.add(path)
        return content


@pytest.fixture
def talkative(tpm_host):
    """The daemons log all that they can."""
    files_ = [tpm_host.path(f"/etc/libvirt/{name}.conf") for name in DAEMONS]
    before = [file.read_text() for file in files_]
    for file, text in zip(files_, before):
        file.write_text(text.replace("log_level = 3", "log_level = 1"))
    tpm_host.daemon("restart", *DAEMONS)
    yield tpm_host
    for file, text in zip(files_, before):
        file.write_text(text)
    tpm_host.daemon("restart", *DAEMONS)


def recent(folder, since):
    """Files in a folder and not far below it that have changed since a moment."""
    for where, folders, names in os.walk(folder):
        if where.count("/") - folder.count("/") == 2:
            folders.clear()
        for name in names:
            with contextlib.suppress(OSError):
                if os.lstat(f"{where}/{name}").st_mtime >= since:
                    yield f"{where}/{name}"


def use_passphrases(host, tmp_path, first, second):
    """All that is ever done with a passphrase."""
    host.create_volume("one", **encrypted(secret=first))
    host.copy_volume("one", "two", **encrypted(secret=first))
    host.copy_volume("one", "rekeyed", **encrypted(usage="second"))
    host.copy_volume("rekeyed", "decrypted")
    host.copy_volume("one", "new", tpm="<tpm identity='new'/>", **encrypted(secret=second))
    host.create_volume("blank", tpm=xmls.BLANK, **encrypted(secret=first))
    host.virsh("vol-download", "one", tmp_path / "state", "--pool", "tpm")
    host.virsh("vol-upload", "blank", tmp_path / "state", "--pool", "tpm")
    host.virsh("vol-wipe", "two", "--pool", "tpm")
    guest = host.define_guest(tpm=xmls.tpm_volume("one", version="2.0"))
    guest.start()
    host.virsh("managedsave", "guest")
    host.virsh("start", "guest")
    host.virsh("destroy", "guest")


def use_wrong_passphrase(host, first):
    """The errors, too, that come of a passphrase."""
    message = messages.WRONG_PASSPHRASE("one", "tpm")
    assert message in host.copy_fails("one", "three")
    assert message in host.copy_fails("one", "three", **encrypted(usage="second"))
    assert message in host.virsh_fails("start", "guest")
    ca = host.path("/var/lib/swtpm-localca")
    host.run("chown", "-R", "0:0", ca)
    try:
        assert messages.SETUP_FAILED("four", ANY, LINES) in host.virsh_fails(
            "vol-create", "tpm", "/dev/stdin", input=xmls.volume("four", **encrypted(secret=first)))
    finally:
        host.run("chown", "-R", "tss:root", ca)


def test_values_are_nowhere(talkative, tmp_path):
    """Not in a log, a file, a command line or an environment, in no form."""
    begin = time.time()
    values = [f"Xyzzy-{random.SystemRandom().randbytes(8).hex()}" for _ in range(3)]
    needles = [needle for value in values for needle in forms(value.encode())]
    with Watcher(talkative, needles) as watcher:
        first = talkative.define_secret(values[0], "first")
        second = talkative.define_secret(values[1], "second")
        use_passphrases(talkative, tmp_path, first, second)
        talkative.set_secret(first, values[2])
        use_wrong_passphrase(talkative, first)
    assert {"swtpm", "swtpm_setup", "virtstoraged"} <= watcher.programs, watcher.programs
    assert watcher.rounds > 100

    assert "lookup" in talkative.log().lower(), "the log is not that of everything"
    for folder in FOLDERS:
        for path in files(talkative.path(folder)):
            watcher.look_at(path)
    for path in recent("/tmp", begin):
        watcher.look_at(path)
    assert not watcher.found


@pytest.mark.parametrize("text", [
    b"Xyzzy-planted", b"Xyzzy-planted".hex().encode(), b"Xyzzy-planted".hex().upper().encode(),
    *(base64.b64encode(before + b"Xyzzy-planted, and more") for before in (b"", b"1", b"12")),
], ids=["raw", "hex", "HEX", "base64", "base64-1", "base64-2"])
def test_watcher_finds_what_is_planted(host, text):
    """In each place, in each form."""
    text = text.decode()
    named = host.path(f"/run/libvirt/named-{text}")
    filled = host.path("/run/libvirt/filled")
    with Watcher(host, forms(b"Xyzzy-planted")) as watcher, \
            subprocess.Popen(["sh", "-c", "read line", f"before{text}"], stdin=subprocess.PIPE) as argument, \
            subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE,
                             env={"PLANTED": f"before{text}"}) as variable:
        named.touch()
        filled.write_text(f"before {text} behind")
        expected = {str(named), str(filled), f"/proc/{argument.pid}/cmdline", f"/proc/{variable.pid}/environ"}
        try:
            wait_for("all of it is found", lambda: watcher.found == expected)
        finally:
            named.unlink()
            filled.unlink()
