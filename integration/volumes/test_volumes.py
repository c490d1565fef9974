"""Volumes of a tpm pool: what vol-create makes, vol-dumpxml tells and vol-delete removes.

With and without encryption, of both versions, with banks, profiles and other parameters.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

import pytest

import messages
import xmls
from expected import Output, error
from host import CLEAR, POOL, RUN, wait_for

MAGIC = b"nilmptws"


def fingerprint(pem):
    """The SHA-256 of the SubjectPublicKeyInfo of a certificate, by openssl."""
    public = subprocess.run(["openssl", "x509", "-noout", "-pubkey"], input=pem.encode(),
                            capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public,
                         capture_output=True, check=True).stdout
    return "sha256:" + hashlib.sha256(der).hexdigest()


def test_clear_volume(host):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    bytes_ = path.read_bytes()
    assert bytes_.startswith(MAGIC) and all(mark.search(bytes_) for mark in CLEAR)
    assert host.clear_files(POOL) == [path]
    assert path.stat().st_mode & 0o777 == 0o600

    volume = host.describe("one")
    assert volume.get("type") == "file"
    assert volume.findtext("name") == "one"
    assert volume.findtext("capacity") == str(1024 * 1024)
    assert volume.findtext("target/path") == f"{POOL}/one"
    assert volume.find("target/encryption") is None
    assert volume.find("tpm").get("version") == "2.0"
    assert [bank.tag for bank in volume.find("tpm/active_pcr_banks")] == ["sha256"]
    assert host.virsh("vol-path", "one", "--pool", "tpm") == f"{POOL}/one"
    assert host.virsh("vol-key", "one", "--pool", "tpm") == f"{POOL}/one"
    assert host.virsh("vol-pool", f"{POOL}/one") == "tpm"
    assert re.search(r"Capacity: +1.00 MiB", host.virsh("vol-info", "one", "--pool", "tpm"))


def test_endorsement_keys(host):
    """Their certificates are of this TPM, from swtpm's CA, with the right fingerprint."""
    host.define_pool()
    host.create_volume("one")
    tpm = host.describe("one").find("tpm")
    keys = tpm.findall("endorsement")
    assert [key.get("key") for key in keys] == ["rsa2048", "secp384r1"]
    for key in keys:
        assert key.get("fingerprint") == fingerprint(key.text)
        subject = subprocess.run(["openssl", "x509", "-noout", "-subject", "-issuer"],
                                 input=key.text, text=True, capture_output=True, check=True).stdout
        assert tpm.findtext("uuid") in subject
        assert "swtpm-localca" in subject


def test_every_volume_is_another_tpm(host):
    host.define_pool()
    host.create_volume("one")
    again = host.virsh("vol-dumpxml", "one", "--pool", "tpm").replace(">one<", ">two<")
    host.virsh("vol-create", "tpm", "/dev/stdin", "--validate", input=again)
    one, two = host.describe("one").find("tpm"), host.describe("two").find("tpm")
    assert one.findtext("uuid") != two.findtext("uuid")
    assert one.find("endorsement").get("fingerprint") != two.find("endorsement").get("fingerprint")


@pytest.mark.parametrize("by", ["uuid", "usage"])
@pytest.mark.parametrize("format", ["vtpm", "default"])
def test_encrypted_volume(host, by, format):
    host.define_pool()
    secret = host.define_secret("open sesame", "tpm-key")
    text = xmls.volume("one", encryption=format, secret=secret)
    if by == "usage":
        text = text.replace(f"uuid='{secret}'", "usage='tpm-key'")
    host.virsh("vol-create", "tpm", "/dev/stdin", input=text)
    bytes_ = host.path(f"{POOL}/one").read_bytes()
    assert bytes_.startswith(MAGIC)
    assert not host.clear_files(POOL)

    encryption = host.describe("one").find("target/encryption")
    assert encryption.get("format") == "vtpm"
    assert encryption.find("secret").get(by) == (secret if by == "uuid" else "tpm-key")
    host.daemon("restart", "virtstoraged")
    encryption = host.describe("one").find("target/encryption")
    assert encryption.find("secret").get(by) == (secret if by == "uuid" else "tpm-key")


def test_version_1_2(host):
    host.define_pool()
    host.create_volume("one", tpm="<tpm version='1.2'/>")
    tpm = host.describe("one").find("tpm")
    assert tpm.get("version") == "1.2"
    assert tpm.find("endorsement").get("fingerprint") == fingerprint(tpm.findtext("endorsement"))


def test_pcr_banks(host):
    host.define_pool()
    host.create_volume("one", tpm="<tpm><active_pcr_banks><sha1/><sha384/></active_pcr_banks></tpm>")
    assert [bank.tag for bank in host.describe("one").find("tpm/active_pcr_banks")] == ["sha1", "sha384"]


def print_info(host, path):
    """What swtpm tells of the TPM in a copy of a volume."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(path, f"{folder}/state")
        done = host.run("swtpm", "socket", "--tpm2", "--tpmstate", f"backend-uri=file://{folder}/state",
                        "--print-info", "0x20")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.newer_swtpm
@pytest.mark.parametrize("source, name, disabled", [
    (None, "null", None),
    ("default-v1", "default-v1", None),
    ("null", "null", None),
    ("custom", "custom", "fips-host"),
])
def test_profile(tpm_host, source, name, disabled):
    """The TPM is made with the one that the volume asks for, and copies have it as well."""
    options = f" removeDisabled='{disabled}'" if disabled else ""
    tpm = f"<tpm><profile source='{source}'{options}/></tpm>" if source else ""
    path = tpm_host.create_volume("one", tpm=tpm)
    copy = tpm_host.copy_volume("one", "two")
    for volume, place in (("one", path), ("two", copy)):
        assert print_info(tpm_host, tpm_host.path(place))["ActiveProfile"]["Name"] == name
        shown = tpm_host.describe(volume).find("tpm/profile")
        assert (shown is not None and shown.get("source")) == (source or False)
        assert shown is None or shown.get("removeDisabled") == disabled


@pytest.mark.newer_swtpm
def test_profile_that_is_unknown(tpm_host):
    said = tpm_host.virsh_fails("vol-create", "tpm", "/dev/stdin",
                                input=xmls.volume("one", tpm="<tpm><profile source='nonsense'/></tpm>"))
    assert "'one'" in said and "nonsense" in said
    assert tpm_host.contents(POOL) == {}


def test_profile_needs_swtpm_that_has_them(host):
    host.define_pool()
    if host.swtpm_can("cmdarg-profile"):
        pytest.skip("this swtpm_setup has profiles: there is nothing to refuse")
    said = host.virsh_fails("vol-create", "tpm", "/dev/stdin",
                            input=xmls.volume("one", tpm="<tpm><profile source='default-v1'/></tpm>"))
    assert error("VIR_ERR_ARGUMENT_UNSUPPORTED", "swtpm_setup", "profiles") in said
    assert host.contents(POOL) == {}


def test_blank_volume(host):
    host.define_pool()
    identity = "0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f"
    path = host.create_volume("one", tpm=f"<tpm manufacture='no'><uuid>{identity}</uuid></tpm>")
    assert host.path(path).read_bytes() == b""
    tpm = host.describe("one").find("tpm")
    assert tpm.get("manufacture") == "no"
    assert tpm.findtext("uuid") == identity
    assert tpm.find("endorsement") is None


def test_vol_create_as(host):
    host.define_pool()
    host.virsh("vol-create-as", "tpm", "one", "2M")
    assert host.describe("one").findtext("capacity") == str(2 * 1024 * 1024)


def test_delete(host):
    host.define_pool()
    host.create_volume("one")
    host.create_volume("two")
    host.virsh("vol-delete", "one", "--pool", "tpm")
    assert host.virsh("vol-list", "tpm").split()[0] == "two"
    assert {path.rsplit("/")[-1] for path in host.contents(POOL)} == {"two", "two.tpm.xml"}


def test_delete_of_what_is_gone(host):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    path.unlink()
    host.virsh("vol-delete", "one", "--pool", "tpm")
    assert host.contents(POOL) == {}


def test_delete_is_refused_while_in_use(host):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    before = host.contents(POOL)
    with open(path, "r+b") as file:
        host.lock(file)
        said = host.virsh_fails("vol-delete", "one", "--pool", "tpm")
    assert messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(os.getpid())) in said
    assert host.contents(POOL) == before


# A process with a descriptor of a file system whose server never answers, as a network file
# system's may not. It is the root of the file system: only whoever asks about it waits.
HUNG = """
import ctypes, os, sys, time
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hung", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    raise OSError(ctypes.get_errno(), "mount")
root = os.open(sys.argv[1], os.O_PATH)
print("ready", flush=True)
time.sleep(1000)
"""

LOCK = """
import fcntl, os, struct, sys, time
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
print("ready", flush=True)
time.sleep(1000)
"""


def test_holder_is_found_beside_a_hung_file_system(host, tmp_path):
    """Its descriptors come first in /proc, and nobody asks about them."""
    host.define_pool()
    path = host.create_volume("one")
    host.create_volume("two")
    with contextlib.ExitStack() as stack:
        for script, argument in ((HUNG, tmp_path), (LOCK, path)):
            process = stack.enter_context(subprocess.Popen(
                ["/usr/bin/python3", "-c", script, argument], stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        said = host.virsh_fails("vol-delete", "one", "--pool", "tpm")
        assert time.monotonic() - begin < 5
        assert messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(process.pid, re.compile("python3.*"))) in said
        host.virsh("vol-delete", "two", "--pool", "tpm")
    host.run("umount", "-l", tmp_path)


def test_delete_that_hangs(host, tmp_path):
    """On a file system that does not go on; the pool's other volumes do."""
    image = tmp_path / "image"
    image.write_bytes(b"")
    os.truncate(image, 32 << 20)
    path = host.path(POOL)
    path.mkdir(parents=True, exist_ok=True)
    assert host.run("mkfs.ext4", "-q", image).returncode == 0
    done = host.run("mount", "-n", "-o", "loop", image, POOL)
    assert done.returncode == 0, done.stderr
    frozen = False
    try:
        host.define_pool()
        path = host.path(host.create_volume("one"))
        host.create_volume("two")
        frozen = host.run("fsfreeze", "--freeze", POOL).returncode == 0
        assert frozen
        with subprocess.Popen(["virsh", "-q", "vol-delete", "one", "--pool", "tpm"]) as client:
            try:
                wait_for("the volume is about to go", lambda: host.is_locked(path), timeout=20)
                begin = time.monotonic()
                # fails where it would wait until the file system goes on
                listed = host.run("timeout", "20", "virsh", "-q", "vol-list", "tpm")
                assert len(listed.stdout.splitlines()) == 2
                assert host.identity("two") is not None
                assert "still in use" in host.virsh_fails("vol-delete", "one", "--pool", "tpm")
                assert time.monotonic() - begin < 10
                assert client.poll() is None
            finally:
                frozen = host.run("fsfreeze", "--unfreeze", POOL).returncode != 0
        assert client.returncode == 0
        assert host.virsh("vol-list", "tpm").split()[0] == "two"
        host.virsh("pool-destroy", "tpm")
    finally:
        if frozen:
            host.run("fsfreeze", "--unfreeze", POOL)
        host.run("umount", POOL)


def test_download(host, tmp_path):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    host.virsh("vol-download", "one", tmp_path / "copy", "--pool", "tpm")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name, message", [
    ("a,b", messages.NAME_CHARACTER),
    ("a\\b", messages.NAME_CHARACTER),
    ("../b", messages.NAME_DOT),
    (".b", messages.NAME_DOT),
    ("a/b", messages.NAME_CHARACTER),
    ("b.tpm.xml", messages.NAME_SIDECAR),
    ("b" * 231, messages.NAME_LONG),
    ("a\tb", messages.NAME_CHARACTER),
])
def test_names_that_are_refused(host, name, message):
    host.define_pool()
    said = host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume(name))
    assert message(name.replace("\t", "\\t")) in said
    assert host.contents(POOL) == {}


def test_longest_name(host):
    host.define_pool()
    host.create_volume("b" * 230)
    assert host.describe("b" * 230).find("tpm/uuid") is not None


def refused(host, message, left=(), **what):
    """vol-create is refused with a message, and only the files that were there are left."""
    assert message in host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("one", **what))
    assert {path.rsplit("/")[-1] for path in host.contents(POOL)} == set(left)
    assert "one" not in host.virsh("vol-list", "tpm").split()


def test_refused_formats(host):
    host.define_pool()
    secret = host.define_secret("open sesame", "tpm-key")
    refused(host, messages.QCOW2_NOT_YET("one"), format="qcow2")
    refused(host, messages.LUKS_NOT_YET("one"), encryption="luks", secret=secret)
    refused(host, messages.QCOW_ENCRYPTION("one"), encryption="qcow", secret=secret)
    refused(host, messages.OTHER_ENCRYPTION("luks2", "one"), encryption="luks2", secret=secret)
    refused(host, messages.OTHER_FORMAT("vmdk", "one"), format="vmdk")
    refused(host, messages.CAPACITY("one", (16 << 20) + 1, 16 << 20), capacity=(16 << 20) + 1)
    refused(host, messages.IDENTITY_OF_NO_COPY("one"), tpm="<tpm identity='new'/>")
    refused(host, messages.BANKS_WITH_1_2(),
            tpm="<tpm version='1.2'><active_pcr_banks><sha1/></active_pcr_banks></tpm>")
    refused(host, messages.PROFILE_NAME("a,b c"), tpm="<tpm><profile source='a,b c'/></tpm>")
    refused(host, messages.KEY_NAME("The Key"),
            tpm="<tpm manufacture='no'><endorsement key='The Key' fingerprint='sha256:'/></tpm>")
    refused(host, messages.KEY_FINGERPRINT("md5:1f", "rsa2048"),
            tpm="<tpm manufacture='no'><endorsement key='rsa2048' fingerprint='md5:1f'/></tpm>")


def test_refused_secrets(host):
    host.define_pool()
    missing = "11111111-2222-3333-4444-555555555555"
    refused(host, messages.SECRET_NOT_DEFINED(f"uuid='{missing}'", "one", "tpm"), encryption="vtpm", secret=missing)
    refused(host, messages.NOT_ONE_SECRET("one"), encryption="vtpm")
    disk = host.define_secret("open sesame", "disk", "volume")
    refused(host, messages.SECRET_OF_OTHER_USAGE(f"uuid='{disk}'", "one", "tpm", "volume"),
            encryption="vtpm", secret=disk)
    empty = "66666666-7777-8888-9999-000000000000"
    host.virsh("secret-define", "/dev/stdin", input=xmls.secret(empty, "empty"))
    refused(host, messages.SECRET_WITHOUT_VALUE(f"uuid='{empty}'", "one", "tpm"), encryption="vtpm", secret=empty)


def test_volume_that_exists_is_not_replaced(host):
    host.define_pool()
    host.create_volume("one")
    before = host.contents(POOL)
    said = host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("one"))
    assert error("VIR_ERR_STORAGE_VOL_EXIST", "one") in said
    host.path(f"{POOL}/by-hand").write_bytes(b"x")
    said = host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("by-hand"))
    assert error("VIR_ERR_OPERATION_INVALID", f"{POOL}/by-hand") in said
    host.path(f"{POOL}/by-hand").unlink()
    assert host.contents(POOL) == before


def test_volume_that_comes_meanwhile_keeps_its_sidecar(host):
    """Somebody puts a volume there by hand while one of its name is made."""
    host.define_pool()
    path = host.path(host.create_volume("one"))
    with subprocess.Popen(["virsh", "-q", "vol-create", "tpm", "/dev/stdin"], text=True,
                          stdin=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        client.stdin.write(xmls.volume("two"))
        client.stdin.close()
        wait_for("the TPM is being made", lambda: list(
            host.path(RUN).glob("tpm-setup.*")), every=0.005)
        for suffix in ("", ".tpm.xml"):
            host.run("cp", f"{path}{suffix}", f"{POOL}/two{suffix}")
        before = {path: facts for path, facts in host.contents(POOL).items() if "tmptpm" not in path}
        assert messages.VOLUME_EXISTS("two") in Output(client.stderr.read())
    assert host.contents(POOL) == before


def test_failed_manufacture_says_why(host):
    """With the words of the tool: here its CA's folder has lost its owner."""
    host.define_pool()
    ca = host.path("/var/lib/swtpm-localca")
    owner = ca.stat().st_uid
    host.run("chown", "-R", "0:0", ca)
    host.run("chmod", "0700", ca)
    try:
        refused(host, messages.SETUP_FAILED("one", 1, re.compile(".*rights on statedir /var/lib/swtpm-localca.*")))
    finally:
        host.run("chown", "-R", owner, ca)
        host.run("chmod", "0750", ca)
    host.create_volume("one")


def test_full_disk(host):
    host.define_pool(start=False)
    host.path(POOL).mkdir(parents=True, exist_ok=True)
    host.run("mount", "-t", "tmpfs", "-o", "size=8k,mode=0711", "tmpfs", POOL)
    try:
        host.virsh("pool-start", "tpm")
        message = host.virsh_fails("vol-create", "tpm", "/dev/stdin", input=xmls.volume("one"))
        assert "No space left on device" in message
        assert host.contents(POOL) == {}
        host.virsh("pool-destroy", "tpm")
    finally:
        host.run("umount", POOL)


@pytest.mark.parametrize("program", ["swtpm", "swtpm_setup"])
def test_missing_program_is_named(host, program):
    """Whether it was there when the daemon started or not."""
    host.define_pool()
    host.create_volume("other")
    path = host.run("which", program).stdout.strip()
    try:
        host.run("mount", "--bind", "/dev/null", path)
        for _ in range(2):
            refused(host, f"Unable to find '{program}' binary in $PATH", left={"other", "other.tpm.xml"})
            assert f"Unable to find '{program}' binary in $PATH" in host.copy_fails("other", "one")
            host.daemon("restart", "virtstoraged")
    finally:
        host.run("umount", path)
    host.create_volume("one")


def test_volume_that_may_not_be_written(host):
    """Not even by root, of whom an immutable file is kept."""
    host.define_pool()
    path = host.create_volume("one")
    if host.run("chattr", "+i", path).returncode:
        pytest.skip("there are no immutable files on this file system")
    try:
        for command in ("vol-wipe", "vol-delete"):
            said = host.virsh_fails(command, "one", "--pool", "tpm")
            assert messages.NO_PERMISSION(f"{POOL}/one", "one", "tpm", errno=errno.EPERM) in said
    finally:
        host.run("chattr", "-i", path)


def test_distribution_clients(host):
    """The distribution's own virsh and Python binding, which know no tpm pools."""
    host.define_pool()
    virsh = ["/usr/bin/virsh", "-q", "-c", "qemu:///system"]
    done = host.run(*virsh, "vol-create", "tpm", "/dev/stdin", input=xmls.volume("one"))
    assert done.returncode == 0, done.stderr
    assert "<tpm version='2.0'>" in host.run(*virsh, "vol-dumpxml", "one", "--pool", "tpm").stdout
    assert "one" in host.run(*virsh, "vol-list", "tpm").stdout
    assert host.run(*virsh, "vol-delete", "one", "--pool", "tpm").returncode == 0

    script = """
import sys, libvirt
pool = libvirt.open("qemu:///system").storagePoolLookupByName("tpm")
volume = pool.createXML(sys.stdin.read())
assert [v.name() for v in pool.listAllVolumes()] == ["one"]
assert "<tpm version='2.0'>" in volume.XMLDesc()
assert volume.info()[1] == 1024 * 1024
volume.delete()
assert pool.listVolumes() == []
"""
    done = host.run("/usr/bin/python3", "-c", script, input=xmls.volume("one"))
    assert done.returncode == 0, done.stderr


def test_killed_while_volumes_are_made(host):
    """kill -9 of virtstoraged at random moments: whole volumes or none, nothing left over,
    nothing clear."""
    random.seed(1)
    host.define_pool()
    host.virsh("pool-autostart", "tpm")
    secret = host.define_secret("open sesame", "tpm-key")
    pool = host.path(POOL)
    begin = time.monotonic()
    host.create_volume("first", encryption="vtpm", secret=secret)
    takes = time.monotonic() - begin
    for number in range(50):
        text = xmls.volume(f"volume{number}", encryption="vtpm", secret=secret)
        with subprocess.Popen(["virsh", "-q", "vol-create", "tpm", "/dev/stdin"], text=True,
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
            client.stdin.write(text)
            client.stdin.close()
            time.sleep(random.uniform(0, 1.5 * takes))
            host.daemon("kill", "virtstoraged")
        assert not host.clear_files(POOL, "/run/libvirt", "/var/log/libvirt",
                                    *host.path("/tmp").glob("swtpm*"))
        host.daemon("start", "virtstoraged")
        host.virsh("pool-refresh", "tpm")

    listed = {line.split()[0] for line in host.virsh("vol-list", "tpm").splitlines()}
    assert 1 < len(listed) < 51, "the kills did not hit: change their moments"
    files = {file.name for file in pool.iterdir()}
    assert listed == {name for name in files if not name.endswith(".tpm.xml")}
    assert not list(host.path(RUN).glob("tpm-setup.*"))
    for name in listed:
        assert host.describe(name).find("tpm/uuid") is not None
        host.opens_in_swtpm(pool / name, "open sesame")
