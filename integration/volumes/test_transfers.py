"""vol-upload and vol-download, backup and restore, vol-wipe and vol-delete that overwrites."""

import contextlib
import errno
import os
import re
import socket
import ssl
import subprocess
import time
from xml.etree import ElementTree

import libvirt
import pytest

import messages
import storm
import xmls
from expected import ANY, LINES, Output, error
from faults import Deed, Preload, Witness
from host import FORMS, POOL, permanent_blob, wait_for

ALGORITHMS = ["zero", "nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33", "random"]
BLANK = "<tpm manufacture='no'/>"
# What is said of a volume that a guest uses.
IN_USE = messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(ANY, "swtpm"))


@pytest.fixture
def encrypted(tpm_host):
    """What makes a volume encrypted; the passphrase is 'open sesame'."""
    return {"encryption": "vtpm", "secret": tpm_host.define_secret("open sesame", "tpm-key")}


def upload(host, name, content, tmp_path, *options):
    """The arguments of virsh for an upload of bytes."""
    file = tmp_path / "upload"
    file.write_bytes(content)
    return "vol-upload", name, file, "--pool", "tpm", *options


def volume_bytes(host, name):
    """What the file of a volume holds."""
    return host.path(f"{POOL}/{name}").read_bytes()


def create_blank(host, text):
    """Create a volume that awaits the TPM of one whose XML was saved."""
    host.virsh("vol-create", "tpm", "/dev/stdin", "--validate",
               input=text.replace("<tpm ", "<tpm manufacture='no' "))


# Upload

@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_upload_to_a_blank_volume(tpm_host, encrypted, tmp_path, form, sparse):
    """What is uploaded is stored as a linear file; the volume keeps its identity."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(name, **what)
        linear = volume_bytes(tpm_host, name)
        tpm_host.create_volume(f"{name}-2", tpm=BLANK, **what)
        identity = tpm_host.identity(f"{name}-2")
        owner = tpm_host.path(f"{POOL}/{name}-2").stat()
        options = ["--sparse"] if sparse else []
        tpm_host.virsh(*upload(tpm_host, f"{name}-2", FORMS[form](linear), tmp_path, *options))
        assert volume_bytes(tpm_host, f"{name}-2") == linear
        assert tpm_host.identity(f"{name}-2") == identity
        described = tpm_host.describe(f"{name}-2").find("tpm")
        assert described.get("version") == "2.0"
        assert described.get("manufacture") is None
        now = tpm_host.path(f"{POOL}/{name}-2").stat()
        assert (now.st_uid, now.st_gid, now.st_mode) == (owner.st_uid, owner.st_gid, owner.st_mode)


def test_upload_keeps_the_owner(tpm_host, tmp_path):
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.run("chown", "tss:tss", path)
    tpm_host.virsh(*upload(tpm_host, "one", path.read_bytes(), tmp_path))
    assert path.owner() == "tss"


def test_upload_of_version_1_2(tpm_host, encrypted, tmp_path):
    """Such a TPM is known by its certificate."""
    tpm_host.create_volume("one", tpm="<tpm version='1.2'/>")
    tpm_host.create_volume("two", tpm=BLANK)
    tpm_host.virsh(*upload(tpm_host, "two", permanent_blob(volume_bytes(tpm_host, "one")), tmp_path))
    assert tpm_host.describe("two").find("tpm").get("version") == "1.2"

    for name, what in (("clear", {}), ("secret", encrypted)):
        for number in (1, 2):
            tpm_host.create_volume(f"{name}-{number}", tpm="<tpm version='1.2'/>", **what)
        content = volume_bytes(tpm_host, f"{name}-1")
        before = tpm_host.identity(f"{name}-1"), tpm_host.endorsements(f"{name}-1")
        assert len(before[1]) == 1
        tpm_host.virsh(*upload(tpm_host, f"{name}-1", content, tmp_path))
        assert (tpm_host.identity(f"{name}-1"), tpm_host.endorsements(f"{name}-1")) == before
        tpm_host.virsh(*upload(tpm_host, f"{name}-1", volume_bytes(tpm_host, f"{name}-2"), tmp_path))
        assert tpm_host.identity(f"{name}-1") not in (before[0], None)
        assert tpm_host.endorsements(f"{name}-1") == {}


def test_upload_of_another_tpm(tpm_host, encrypted, tmp_path):
    """The volume is that TPM then: another identity, that TPM's certificates and PCR banks, and
    the same secret."""
    other = "<tpm><active_pcr_banks><sha1/><sha384/></active_pcr_banks></tpm>"
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(name, tpm=other, **what)
        tpm_host.create_volume(f"{name}-2", capacity=2 << 20, **what)
        before = tpm_host.identity(f"{name}-2"), tpm_host.identity(name), None
        assert len(tpm_host.endorsements(name)) == 2
        tpm_host.virsh(*upload(tpm_host, f"{name}-2", volume_bytes(tpm_host, name), tmp_path))
        assert tpm_host.identity(f"{name}-2") not in before
        assert tpm_host.endorsements(f"{name}-2") == tpm_host.endorsements(name)
        described = tpm_host.describe(f"{name}-2")
        assert described.findtext("capacity") == str(2 << 20)
        assert [bank.tag for bank in described.find("tpm/active_pcr_banks")] == ["sha1", "sha384"]
        secret = described.find("target/encryption/secret")
        assert (secret.get("uuid") if what else secret) == what.get("secret")


def test_upload_is_described_as_an_import(tpm_host, encrypted, tmp_path):
    """The same bytes have the same certificates and banks, whichever way they come."""
    tpm_host.path("/var/lib/libvirt/images").mkdir(exist_ok=True)
    for name, what in (("clear", {}), ("secret", encrypted)):
        content = tpm_host.path(tpm_host.create_volume(name, **what)).read_bytes()
        tpm_host.path(f"/var/lib/libvirt/images/{name}").write_bytes(content)
        tpm_host.create_volume(f"{name}-blank", tpm=BLANK, **what)
        tpm_host.virsh(*upload(tpm_host, f"{name}-blank", content, tmp_path))
    tpm_host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.copy_volume(name, f"{name}-import", inputpool="plain", **what)
        described = [tpm_host.describe(f"{name}-{way}").find("tpm") for way in ("blank", "import")]
        for tpm in described:
            tpm.remove(tpm.find("uuid"))
        one, other = (ElementTree.canonicalize(ElementTree.tostring(tpm), strip_text=True) for tpm in described)
        assert one == other and one.count("BEGIN CERTIFICATE") == 2


def test_upload_of_another_tpm_without_certificates(tpm_host, encrypted, tmp_path):
    """Where the description names no keys, the state that is replaced is asked."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(f"{name}-other", **what)
        path = tpm_host.path(tpm_host.create_volume(name, **what))
        sidecar = path.with_name(f"{name}.tpm.xml")
        text = re.sub("<endorsement .*</endorsement>", "", sidecar.read_text(), flags=re.DOTALL)
        sidecar.write_text(text)
        identity = tpm_host.identity(name)
        assert identity is not None and tpm_host.endorsements(name) == {}
        tpm_host.virsh(*upload(tpm_host, name, path.read_bytes(), tmp_path))
        assert tpm_host.identity(name) == identity
        assert len(tpm_host.endorsements(name)) == 2

        sidecar.write_text(text)
        tpm_host.virsh(*upload(tpm_host, name, volume_bytes(tpm_host, f"{name}-other"), tmp_path))
        assert tpm_host.identity(name) not in (identity, None)
        assert tpm_host.endorsements(name) == tpm_host.endorsements(f"{name}-other")


def test_upload_is_opened_with_the_secret(tpm_host, encrypted, tmp_path):
    """Another passphrase, another cipher, a state of another version and no secret are found out
    before anything is replaced."""
    other = {"encryption": "vtpm", "secret": tpm_host.define_secret("another", "other-key")}
    tpm_host.create_volume("other", **other)
    tpm_host.create_volume("old", tpm="<tpm version='1.2'/>", **encrypted)
    key = tmp_path / "key"
    key.write_text("open sesame")
    done = tpm_host.run("swtpm_setup", "--tpm2", "--tpm-state", f"file://{tmp_path}/aes128",
                        "--pwdfile", key, "--cipher", "aes-128-cbc", "--overwrite")
    assert done.returncode == 0, done.stderr
    tpm_host.create_volume("one", **encrypted)
    tpm_host.create_volume("blank", tpm=BLANK, **encrypted)
    before = tpm_host.contents(POOL)
    for name in ("one", "blank"):
        for content, message in ((volume_bytes(tpm_host, "other"), messages.WRONG_PASSPHRASE(name, "tpm")),
                                 ((tmp_path / "aes128").read_bytes(), messages.AES_128(name)),
                                 (volume_bytes(tpm_host, "old"), messages.NOT_PERMANENT(name, "tpm"))):
            said = tpm_host.virsh_fails(*upload(tpm_host, name, content, tmp_path))
            assert messages.UPLOAD_NOT_OPENED_PREFIX(name, "tpm") in said
            assert message in said
            assert tpm_host.contents(POOL) == before

    content = volume_bytes(tpm_host, "one")
    tpm_host.virsh("secret-undefine", encrypted["secret"])
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", content, tmp_path))
    assert messages.SECRET_NOT_DEFINED(ANY, "one", "tpm") in said and encrypted["secret"] in said
    assert tpm_host.contents(POOL) == before


def test_upload_of_a_backup(tpm_host, tmp_path):
    """The same TPM's state: identity and certificates stay."""
    tpm_host.create_volume("one")
    before = tpm_host.identity("one"), tpm_host.endorsements("one")
    tpm_host.virsh(*upload(tpm_host, "one", volume_bytes(tpm_host, "one"), tmp_path))
    assert (tpm_host.identity("one"), tpm_host.endorsements("one")) == before


def test_interrupted_upload_of_another_tpm_shows(tpm_host):
    """A daemon killed between volume and sidecar leaves certificates that are another TPM's."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("two")
    tpm_host.path(f"{POOL}/two").write_bytes(volume_bytes(tpm_host, "one"))
    assert tpm_host.identity("two") is None
    assert tpm_host.endorsements("two") == {}
    log = tpm_host.log("virtstoraged")
    assert f"description '{POOL}/two.tpm.xml' of TPM volume 'two' of pool 'tpm' is that of another TPM" in log


@pytest.mark.parametrize("owner, mode", [(65534, 0o600), (0, 0o602)])
def test_description_that_others_may_have_written(tpm_host, tmp_path, owner, mode):
    """It is not believed, but not replaced either: an error names it, until its owner and mode are right."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    identity, content = tpm_host.identity("one"), path.read_bytes()
    sidecar = path.with_name("one.tpm.xml")
    before = tpm_host.contents(POOL)
    os.chown(sidecar, owner, -1)
    sidecar.chmod(mode)
    harmed = tpm_host.contents(POOL)
    for command in (upload(tpm_host, "one", content, tmp_path), ("vol-wipe", "one", "--pool", "tpm")):
        said = tpm_host.virsh_fails(*command)
        assert messages.DESCRIPTION_OF_OTHERS(sidecar, "one", "tpm", owner, f"{mode:o}") in said
        assert tpm_host.contents(POOL) == harmed
    assert tpm_host.identity("one") is None
    os.chown(sidecar, 0, -1)
    sidecar.chmod(0o600)
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh(*upload(tpm_host, "one", content, tmp_path))
    assert tpm_host.identity("one") == identity


def test_upload_without_sidecar(tpm_host, tmp_path):
    """It gets one."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.with_name("one.tpm.xml").unlink()
    tpm_host.virsh(*upload(tpm_host, "one", path.read_bytes(), tmp_path))
    assert tpm_host.identity("one") is not None
    assert path.with_name("one.tpm.xml").exists()


@pytest.mark.parametrize("form, message", [
    (lambda linear: b"x" * 1000, messages.UPLOAD_FOREIGN("one", "tpm", "unknown")),
    (lambda linear: b"QFI\xfb" + bytes(1000), messages.UPLOAD_FOREIGN("one", "tpm", "qcow2")),
    (lambda linear: b"LUKS\xba\xbe" + bytes(1000), messages.UPLOAD_FOREIGN("one", "tpm", "luks")),
    (lambda linear: b"", messages.UPLOAD_BLANK("one", "tpm")),
    (lambda linear: bytes(4 << 20), messages.UPLOAD_BLANK("one", "tpm")),
    (lambda linear: linear[:-1000], messages.UPLOAD_DAMAGED("one", "tpm")),
    (lambda linear: permanent_blob(linear)[:-1], messages.UPLOAD_DAMAGED("one", "tpm")),
    # A blob of volatile state differs in what is behind the header.
    (lambda linear: permanent_blob(linear).replace(b"\xab\x36\x47\x23", b"\x45\x63\x79\x83"),
     messages.UPLOAD_VOLATILE("one", "tpm")),
    (lambda linear: linear.ljust((16 << 20) + 1, b"\0"), messages.STREAM_IS_FULL(16 << 20)),
    (lambda linear: os.urandom(20 << 20), messages.STREAM_IS_FULL(16 << 20)),
], ids=["foreign", "qcow2", "luks", "empty", "zeros", "cut-short", "blob-cut-short", "volatile",
        "large", "larger"])
@pytest.mark.parametrize("blank", [False, True])
def test_refused_uploads(tpm_host, tmp_path, form, message, blank):
    """The client gets the error, and the volume stays as it was."""
    tpm_host.create_volume("other")
    tpm_host.create_volume("one", tpm=BLANK if blank else "")
    before = tpm_host.contents(POOL)
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", form(volume_bytes(tpm_host, "other")), tmp_path))
    assert message in said
    assert tpm_host.contents(POOL) == before
    assert "running" in tpm_host.virsh("pool-info", "tpm")


def test_upload_is_whole(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    linear = volume_bytes(tpm_host, "one")
    before = tpm_host.contents(POOL)
    for options in (["--offset", "1"], ["--length", str(1 << 30)]):
        said = tpm_host.virsh_fails(*upload(tpm_host, "one", linear, tmp_path, *options))
        assert messages.UPLOAD_NOT_WHOLE("one", "tpm", 16 << 20) in said
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", linear, tmp_path, "--length", "1000"))
    assert messages.STREAM_IS_FULL(1000) in said
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", linear[:1000], tmp_path, "--length", "1000"))
    assert messages.UPLOAD_DAMAGED("one", "tpm") in said
    assert tpm_host.contents(POOL) == before


def test_upload_changes_no_encryption(tpm_host, encrypted, tmp_path):
    """Neither of a volume that holds a TPM nor of a blank one."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(name, **what)
        tpm_host.create_volume(f"{name}-2", tpm=BLANK, **what)
    before = tpm_host.contents(POOL)
    for name in ("clear", "clear-2"):
        said = tpm_host.virsh_fails(*upload(tpm_host, name, volume_bytes(tpm_host, "secret"), tmp_path))
        assert messages.UPLOAD_ENCRYPTED(name, "tpm") in said
    for name in ("secret", "secret-2"):
        said = tpm_host.virsh_fails(*upload(tpm_host, name, volume_bytes(tpm_host, "clear"), tmp_path))
        assert messages.UPLOAD_CLEAR(name, "tpm") in said
    assert tpm_host.contents(POOL) == before


def test_upload_that_is_given_up(tpm_host):
    """The client dies before it has finished."""
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    script = f"""
import libvirt, os
stream = (conn := libvirt.open("qemu:///system")).newStream()
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
volume.upload(stream, 0, 0)
stream.send(open("{POOL}/one", "rb").read()[:5000])
os._exit(0)
"""
    assert tpm_host.run("/usr/bin/python3", "-c", script).returncode == 0
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("pool-refresh", "tpm")


def test_two_uploads_at_once(tpm_host):
    """The last to finish wins, whole."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    script = f"""
import libvirt
conn = libvirt.open("qemu:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("target")
streams = [conn.newStream() for _ in range(2)]
content = [open("{POOL}/" + name, "rb").read() for name in ("one", "two")]
for stream in streams:
    volume.upload(stream, 0, 0)
for part in range(2):
    for stream, bytes_ in zip(streams, content):
        half = -(-len(bytes_) // 2)
        todo = bytes_[part * half:(part + 1) * half]
        while todo:
            todo = todo[stream.send(todo):]
streams[1].finish()
streams[0].finish()
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == 0, done.stderr
    assert volume_bytes(tpm_host, "target") == volume_bytes(tpm_host, "one")


@pytest.mark.parametrize("described", [True, False])
def test_upload_to_a_volume_that_is_replaced(tpm_host, described):
    """While a state is uploaded, its volume is deleted, and another one of that name is
    created: the new TPM is not overwritten by the old one."""
    path = tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    if not described:
        tpm_host.path(f"{path}.tpm.xml").unlink()
    connection = libvirt.open("storage:///system")
    pool = connection.storagePoolLookupByName("tpm")
    stream = connection.newStream()
    pool.storageVolLookupByName("one").upload(stream, 0, 0)
    pool.storageVolLookupByName("one").delete()
    assert stream.send(content := volume_bytes(tpm_host, "other")) == len(content)
    pool.createXML(xmls.volume("one"))
    before = tpm_host.contents(POOL)
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL) == before


@pytest.mark.parametrize("described", [True, False])
def test_upload_to_a_volume_that_another_host_replaces(tpm_host, described):
    """As the one before, but nobody tells this host's storage driver."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    other = tpm_host.path(tpm_host.create_volume("other"))
    if not described:
        path.with_name("one.tpm.xml").unlink()
    connection = libvirt.open("storage:///system")
    stream = connection.newStream()
    connection.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
    assert stream.send(content := path.read_bytes()) == len(content)
    path.unlink()
    path.write_bytes(other.read_bytes())
    path.with_name("one.tpm.xml").write_bytes(other.with_name("other.tpm.xml").read_bytes())
    before = tpm_host.contents(POOL)
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL) == before


def test_upload_to_a_pool_that_gets_another_directory(tpm_host):
    """Its volumes are others then: neither of both is overwritten."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.create_volume("other")
    connection = libvirt.open("storage:///system")
    stream = connection.newStream()
    connection.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
    assert stream.send(content := volume_bytes(tpm_host, "other")) == len(content)
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.virsh("pool-undefine", "tpm")
    tpm_host.define_pool(target=f"{POOL}-another")
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL, f"{POOL}-another")
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL, f"{POOL}-another") == before
    assert path.exists()
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")


def test_upload_of_another_tpm_during_an_upload(tpm_host):
    """Two uploads of different TPMs are open when the first of them gives the volume another
    identity: the second is not refused for that."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    connection = libvirt.open("storage:///system")
    volume = connection.storagePoolLookupByName("tpm").storageVolLookupByName("target")
    streams = {name: connection.newStream() for name in ("one", "two")}
    identities = [tpm_host.identity("target")]
    for name, stream in streams.items():
        volume.upload(stream, 0, 0)
        assert stream.send(content := volume_bytes(tpm_host, name)) == len(content)
    for name, stream in streams.items():
        stream.finish()
        assert volume_bytes(tpm_host, "target") == volume_bytes(tpm_host, name)
        identities.append(tpm_host.identity("target"))
    assert len(set(identities)) == 3


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
@pytest.mark.parametrize("end", ["stream.abort()", "os.kill(os.getpid(), signal.SIGKILL)", "conn.close()"],
                         ids=["aborted", "killed", "closed"])
def test_upload_that_is_not_finished(tpm_host, uri, end):
    """All has come, but the client does not say so: the volume stays as it was."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    before = tpm_host.contents(POOL)
    script = f"""
import libvirt, os, signal
conn = libvirt.open("{uri}")
stream = conn.newStream()
conn.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
stream.send(open("{POOL}/other", "rb").read())
{end}
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == (-9 if "kill" in end else 0), done.stderr
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("vol-upload", "one", f"{POOL}/other", "--pool", "tpm")
    assert volume_bytes(tpm_host, "one") == volume_bytes(tpm_host, "other")


# A stream that takes long to finish

SLOW_FSYNC = """
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
    if (access("/run/libvirt/slow", F_OK) == 0)
        sleep(1);
    return syscall(SYS_fsync, fd);
}
"""


@pytest.fixture
def slow_disk(tpm_host, tmp_path):
    """A context manager; within it each fsync of virtstoraged takes a second more."""
    library, flag = tmp_path / "slow.so", tpm_host.path("/run/libvirt/slow")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=SLOW_FSYNC, text=True, check=True)
    done = tpm_host.run("env", f"LD_PRELOAD={library}", "sandbox-daemon", "restart", "virtstoraged")
    assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def slow():
        flag.touch()
        try:
            yield
        finally:
            flag.unlink(missing_ok=True)

    yield slow
    flag.unlink(missing_ok=True)
    tpm_host.daemon("restart" if tpm_host.run("pidof", "virtstoraged").stdout else "start", "virtstoraged")


def start_upload(host, name, content, tmp_path, uri="qemu:///system", file="upload"):
    """Begin an upload with virsh, and return it when all has been sent and it is published."""
    (tmp_path / file).write_bytes(content)
    client = subprocess.Popen(["virsh", "-q", "-c", uri, "vol-upload", name, tmp_path / file, "--pool", "tpm"],
                              text=True, stderr=subprocess.PIPE)
    wait_for("the volume's new file", lambda: list(host.path(POOL).glob(f".{name}.*.tmptpm")), every=0.01)
    return client


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
def test_others_are_served_while_an_upload_finishes(tpm_host, slow_disk, tmp_path, uri):
    """Where each fsync takes a second: the daemon of the volume and the one that passes it on."""
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    script = """
import libvirt, sys, time
conns = [libvirt.open(uri) for uri in ("qemu:///system", "storage:///system")]
print("ready", flush=True)
worst, until = 0, time.monotonic() + 2
while time.monotonic() < until:
    for conn in conns:
        begin = time.monotonic()
        conn.storagePoolLookupByName("tpm").storageVolLookupByName("one").info()
        worst = max(worst, time.monotonic() - begin)
print(worst)
"""
    with slow_disk(), subprocess.Popen(["/usr/bin/python3", "-c", script], text=True,
                                       stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "ready\n"
        begin = time.monotonic()
        with start_upload(tpm_host, "one", content, tmp_path, uri) as client:
            assert client.wait() == 0, client.stderr.read()
        taken = time.monotonic() - begin
        assert taken > 1.5, "nothing was slow: that shows nothing"
        assert float(other.stdout.read()) < taken / 2


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
def test_client_that_dies_while_its_upload_finishes(tpm_host, slow_disk, tmp_path, uri):
    """All has come: the volume gets it. The daemons go on."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    content = volume_bytes(tpm_host, "other")
    pids = tpm_host.run("pidof", "virtstoraged", "virtqemud").stdout
    with slow_disk(), start_upload(tpm_host, "one", content, tmp_path, uri) as client:
        client.kill()
    wait_for("the upload", lambda: volume_bytes(tpm_host, "one") == content)
    wait_for("its end", lambda: not tpm_host.is_locked(tpm_host.path(f"{POOL}/one")))
    assert tpm_host.endorsements("one") == tpm_host.endorsements("other")
    assert set(tpm_host.contents(POOL)) == {f"{POOL}/{name}{end}" for name in ("one", "other")
                                            for end in ("", ".tpm.xml")}
    tpm_host.virsh(*upload(tpm_host, "one", content, tmp_path))
    assert tpm_host.run("pidof", "virtstoraged", "virtqemud").stdout == pids


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_daemon_that_ends_while_an_upload_finishes(tpm_host, slow_disk, tmp_path, action):
    """One that is stopped waits for it; one that is killed leaves the old volume or the new one."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    contents = [volume_bytes(tpm_host, name) for name in ("one", "other")]
    keys = [tpm_host.endorsements(name) for name in ("one", "other")]
    with slow_disk(), start_upload(tpm_host, "one", contents[1], tmp_path) as client:
        tpm_host.daemon(action, "virtstoraged")
        assert client.wait() != 0
    which = contents.index(volume_bytes(tpm_host, "one"))
    tpm_host.daemon("start", "virtstoraged")
    tpm_host.virsh("pool-refresh", "tpm")
    assert not list(tpm_host.path(POOL).glob(".*"))
    if action == "stop":
        assert which == 1
        assert tpm_host.endorsements("one") == keys[1]
    else:
        # Certificates may be missing, but are never those of another TPM.
        assert tpm_host.endorsements("one") in ({}, keys[which])
    tpm_host.virsh(*upload(tpm_host, "one", contents[1], tmp_path))


def test_second_upload_while_the_first_one_finishes(tpm_host, slow_disk, tmp_path):
    """It waits, and is the one that lasts."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    contents = [volume_bytes(tpm_host, name) for name in ("one", "two")]
    with slow_disk(), start_upload(tpm_host, "target", contents[0], tmp_path) as first:
        tpm_host.virsh(*upload(tpm_host, "target", contents[1], tmp_path))
        assert first.wait() == 0, first.stderr.read()
    assert volume_bytes(tpm_host, "target") == contents[1]
    assert tpm_host.endorsements("target") == tpm_host.endorsements("two")


def test_messages_after_the_end_of_a_stream(tpm_host, slow_disk):
    """A client that sends more, or goes back on its word, while its upload finishes."""
    tpm_host.create_volume("one")
    script = f"""
import libvirt, threading, time
conn = libvirt.open("storage:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
content = open("{POOL}/one", "rb").read()
stream = conn.newStream()
volume.upload(stream, 0, 0)
stream.sendAll(lambda stream, size, file: file.read(size), open("{POOL}/one", "rb"))
finish = threading.Thread(target=stream.finish)
finish.start()
time.sleep(0.5)
for late in (lambda: stream.send(b"more"), stream.abort):
    try:
        late()
    except libvirt.libvirtError as error:
        print(error)
finish.join()
"""
    pids = tpm_host.run("pidof", "virtstoraged").stdout
    content = volume_bytes(tpm_host, "one")
    with slow_disk():
        done = tpm_host.run("timeout", "30", "/usr/bin/python3", "-c", script)
    assert done.returncode in (0, 1), done.stderr
    assert volume_bytes(tpm_host, "one") == content
    assert tpm_host.run("pidof", "virtstoraged").stdout == pids
    tpm_host.virsh("vol-info", "one", "--pool", "tpm")


def test_busy_pool_says_so(tpm_host, slow_disk):
    """A volume is being made: that is no internal error."""
    with slow_disk(), subprocess.Popen(["virsh", "-q", "vol-create-as", "tpm", "one", "1M"]) as client:
        wait_for("the volume's file", lambda: list(tpm_host.path(POOL).glob(".one.*.tmptpm")), every=0.01)
        for command in ("pool-refresh", "pool-destroy"):
            said = tpm_host.virsh_fails(command, "tpm")
            assert messages.POOL_BUSY("tpm") in said
        assert client.wait() == 0
    tpm_host.virsh("pool-refresh", "tpm")


def test_upload_to_a_volume_in_use(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    inode = tpm_host.path(f"{POOL}/one").stat().st_ino
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", volume_bytes(tpm_host, "one"), tmp_path))
    assert IN_USE in said
    assert tpm_host.path(f"{POOL}/one").stat().st_ino == inode


def test_guest_that_starts_during_an_upload(tpm_host):
    """It starts; the upload fails when it is finished."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    script = f"""
import libvirt, sys
conn = libvirt.open("qemu:///system")
stream = conn.newStream()
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
content = open("{POOL}/one", "rb").read()
volume.upload(stream, 0, 0)
stream.send(content)
print("sent", flush=True)
sys.stdin.readline()
stream.finish()
"""
    with subprocess.Popen(["/usr/bin/python3", "-c", script], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout.readline() == "sent\n"
        guest.start()
        client.stdin.write("\n")
        client.stdin.close()
        said = Output(client.stderr.read())
    assert IN_USE in said
    assert guest.state() == "running"


def test_upload_to_a_full_disk(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.run("mount", "-t", "tmpfs", "-o", "size=24k,mode=0711", "tmpfs", POOL)
    try:
        tpm_host.virsh("pool-start", "tpm")
        tpm_host.create_volume("one", tpm=BLANK)
        tpm_host.path(f"{POOL}/.fill").write_bytes(bytes(12 << 10))
        before = tpm_host.contents(POOL)
        said = tpm_host.virsh_fails(*upload(tpm_host, "one", content, tmp_path))
        assert "No space left on device" in said
        assert tpm_host.contents(POOL) == before
        tpm_host.virsh("pool-destroy", "tpm")
    finally:
        tpm_host.run("umount", POOL)


def test_wipe_on_a_full_disk(tpm_host):
    """A volume is blank or as it was; its content never stays under another name."""
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.run("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=8,mode=0711", "tmpfs", POOL)
    try:
        # The folder and the volume take two of the eight files that there may be.
        for left in (0, 1, 2, 5):
            path = tpm_host.path(f"{POOL}/one")
            path.write_bytes(content)
            for number in range(6 - left):
                path.with_name(f".fill{number}").symlink_to("/")
            tpm_host.virsh("pool-start", "tpm")
            done = tpm_host.run("virsh", "vol-wipe", "one", "--pool", "tpm")
            assert done.returncode == 0 or "No space left on device" in done.stderr
            assert path.read_bytes() == (content if done.returncode else b"")
            assert done.returncode or left
            assert done.returncode == 0 or left < 5
            assert not [file for file in path.parent.iterdir() if "tpm" in file.suffix]
            for file in path.parent.glob(".fill*"):
                file.unlink()
            tpm_host.virsh("pool-destroy", "tpm")
    finally:
        tpm_host.run("umount", POOL)


def test_lock_of_somebody_unseen(tpm_host, tmp_path):
    """As of another host: here of a descriptor that is on its way between two processes."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    one, other = socket.socketpair()
    with one, other:
        with open(path, "r+b") as file:
            tpm_host.lock(file)
            socket.send_fds(one, [b"x"], [file.fileno()])
        for command in (["vol-wipe", "one"], ["vol-delete", "one"], ["vol-upload", "one", path]):
            assert messages.IN_USE_ELSEWHERE("one", "tpm") in tpm_host.virsh_fails(*command, "--pool", "tpm")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")


def test_volume_that_is_gone(tpm_host, tmp_path):
    """Its file was removed behind the pool's back."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    content = path.read_bytes()
    path.unlink()
    message = messages.FILE_NOT_FOUND(f"{POOL}/one", "one", "tpm")
    assert message in tpm_host.virsh_fails(*upload(tpm_host, "one", content, tmp_path))
    assert message in tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
    for command in ("vol-dumpxml", "vol-info"):
        assert error("VIR_ERR_NO_STORAGE_VOL", "one") in tpm_host.virsh_fails(command, "one", "--pool", "tpm")
    assert messages.CANNOT_OPEN_VOLUME("one", "tpm", errno=errno.ENOENT) in tpm_host.virsh_fails(
        "vol-download", "one", tmp_path / "copy", "--pool", "tpm")


# Download

def test_download_of_anything(tpm_host, tmp_path):
    """A volume that is not in use is what it is: blank, foreign, large."""
    tpm_host.create_volume("one")
    path = tpm_host.path(f"{POOL}/one")
    for content in (path.read_bytes(), b"", b"x" * 1000, os.urandom(17 << 20)):
        path.write_bytes(content)
        tpm_host.virsh("vol-download", "one", tmp_path / "copy", "--pool", "tpm")
        assert (tmp_path / "copy").read_bytes() == content


def test_download_of_a_part(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    tpm_host.virsh("vol-download", "one", tmp_path / "copy", "--pool", "tpm", "--offset", "10", "--length", "100")
    assert (tmp_path / "copy").read_bytes() == volume_bytes(tpm_host, "one")[10:110]


def test_sparse_download(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    tpm_host.virsh("vol-download", "one", tmp_path / "copy", "--pool", "tpm", "--sparse")
    assert (tmp_path / "copy").read_bytes() == volume_bytes(tpm_host, "one")


def test_download_of_a_running_tpm(tpm_host, encrypted, tmp_path):
    tpm_host.create_volume("one", **encrypted)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    tpm_host.virsh("vol-download", "one", tmp_path / "copy", "--pool", "tpm")
    tpm_host.opens_in_swtpm(tmp_path / "copy", "open sesame")


def test_download_gives_up(tpm_host, tmp_path):
    """What is in use and is never whole cannot be read."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.write_bytes(path.read_bytes()[:-1000])
    with open(path, "r+b") as file:
        tpm_host.lock(file)
        said = tpm_host.virsh_fails("vol-download", "one", tmp_path / "copy", "--pool", "tpm")
    assert messages.NO_WHOLE_COPY("one", "tpm") in said


@pytest.mark.guest
def test_downloads_under_constant_writes(tpm_host, encrypted, tmp_path):
    """A thousand times, while the guest writes to its NV memory: each opens."""
    tpm_host.create_volume("one", **encrypted)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start("nvwrite")
    guest.wait_report("nv 1")
    script = f"""
import libvirt
conn = libvirt.open("qemu:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
for number in range(1000):
    stream = conn.newStream()
    volume.download(stream, 0, 0)
    with open(f"{tmp_path}/{{number}}", "wb") as file:
        stream.recvAll(lambda stream, data, opaque: file.write(data), None)
    stream.finish()
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == 0, done.stderr
    assert guest.state() == "running"
    different = {(tmp_path / str(number)).read_bytes() for number in range(1000)}
    assert len(different) > 10, "the guest did not write: that shows nothing"
    for number, content in enumerate(different):
        (tmp_path / "copy").write_bytes(content)
        tpm_host.opens_in_swtpm(tmp_path / "copy", "open sesame")


# Backup and restore

def test_backup_and_restore(tpm_host, encrypted, tmp_path):
    """By vol-dumpxml and vol-download, then vol-create and vol-upload."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(name, **what)
        before = tpm_host.identity(name), tpm_host.endorsements(name), volume_bytes(tpm_host, name)
        text = tpm_host.virsh("vol-dumpxml", name, "--pool", "tpm")
        tpm_host.virsh("vol-download", name, tmp_path / "backup", "--pool", "tpm")
        tpm_host.virsh("vol-delete", name, "--pool", "tpm")

        create_blank(tpm_host, text)
        assert tpm_host.describe(name).find("tpm").get("manufacture") == "no"
        tpm_host.virsh("vol-upload", name, tmp_path / "backup", "--pool", "tpm")
        assert (tpm_host.identity(name), tpm_host.endorsements(name), volume_bytes(tpm_host, name)) == before


@pytest.mark.parametrize("secret", [False, True])
def test_restore_of_another_backup_is_refused(tpm_host, encrypted, tmp_path, secret):
    what = encrypted if secret else {}
    tpm_host.create_volume("one", **what)
    tpm_host.create_volume("other", **what)
    text = tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    create_blank(tpm_host, text)
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", volume_bytes(tpm_host, "other"), tmp_path))
    assert messages.UPLOAD_OTHER_TPM("one", "tpm") in said
    assert volume_bytes(tpm_host, "one") == b""


@pytest.mark.guest
def test_restored_backup_unseals(tpm_host, encrypted, tmp_path):
    tpm_host.create_volume("one", **encrypted)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    sealed = guest.boot("seal")["sealed"]
    text = tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm")
    tpm_host.virsh("vol-download", "one", tmp_path / "backup", "--pool", "tpm")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    create_blank(tpm_host, text)
    tpm_host.virsh("vol-upload", "one", tmp_path / "backup", "--pool", "tpm")
    assert guest.boot("unseal")["unsealed"] == sealed


# Wipe and delete

@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_wipe(tpm_host, encrypted, algorithm):
    """The volume is blank then; its identity stays, its certificates go."""
    path = tpm_host.path(tpm_host.create_volume("one", **encrypted))
    identity = tpm_host.identity("one")
    # Another name of the file shows what becomes of its content.
    os.link(path, path.with_name(".old"))
    try:
        content = path.read_bytes()
        tpm_host.virsh("vol-wipe", "one", "--pool", "tpm", "--algorithm", algorithm)
        assert path.with_name(".old").read_bytes()[:len(content)] != content
        assert permanent_blob(content) not in path.with_name(".old").read_bytes()
    finally:
        path.with_name(".old").unlink()
    assert path.read_bytes() == b""
    assert {file.name for file in path.parent.iterdir()} == {"one", "one.tpm.xml"}
    assert tpm_host.identity("one") == identity
    assert tpm_host.endorsements("one") == {}
    described = tpm_host.describe("one")
    assert described.find("tpm").get("manufacture") == "no"
    assert described.find("target/encryption/secret").get("uuid") == encrypted["secret"]
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    assert messages.BLANK("one", "tpm") in tpm_host.virsh_fails("start", "guest")


def test_interrupted_wipe(tpm_host):
    """A volume that has become blank has the certificates of its TPM no more, but its identity."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    identity = tpm_host.identity("one")
    assert len(tpm_host.endorsements("one")) == 2
    path.write_bytes(b"")
    assert tpm_host.identity("one") == identity
    assert tpm_host.endorsements("one") == {}
    assert tpm_host.describe("one").find("tpm").get("manufacture") == "no"


def test_upload_after_an_interrupted_wipe(tpm_host, encrypted, tmp_path):
    """The certificates of the TPM that was wiped do not become those of what is uploaded."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        path = tpm_host.path(tpm_host.create_volume(name, **what))
        tpm_host.create_volume(f"{name}-other", **what)
        identity = tpm_host.identity(name)
        path.write_bytes(b"")
        content = volume_bytes(tpm_host, f"{name}-other")
        tpm_host.virsh(*upload(tpm_host, name, content, tmp_path))
        assert path.read_bytes() == content
        assert tpm_host.identity(name) == identity
        assert tpm_host.endorsements(name) == tpm_host.endorsements(f"{name}-other") != {}


def test_wipe_of_a_volume_that_was_restored(tpm_host, tmp_path):
    """While it was blank it was to become a certain TPM; now it is not."""
    tpm_host.create_volume("one")
    content, text = volume_bytes(tpm_host, "one"), tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    create_blank(tpm_host, text)
    assert len(tpm_host.endorsements("one")) == 2
    tpm_host.virsh(*upload(tpm_host, "one", content, tmp_path))
    tpm_host.virsh("vol-wipe", "one", "--pool", "tpm")
    assert tpm_host.endorsements("one") == {}
    assert "manufacture" not in tpm_host.path(f"{POOL}/one.tpm.xml").read_text()


def test_wipe_of_a_file_with_holes(tpm_host):
    """It is overwritten as well, and not just cut off, which leaves its content on the disk."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    os.truncate(path, 1 << 20)
    assert path.stat().st_blocks < 1000
    with open(path, "rb") as old:
        tpm_host.virsh("vol-wipe", "one", "--pool", "tpm")
        assert not any(old.read())
        assert os.fstat(old.fileno()).st_blocks >= 2048


def test_wiped_volume_takes_a_state(tpm_host, tmp_path):
    path = tpm_host.path(tpm_host.create_volume("one"))
    content = path.read_bytes()
    tpm_host.create_volume("other")
    tpm_host.virsh("vol-wipe", "one", "--pool", "tpm")
    tpm_host.virsh(*upload(tpm_host, "one", volume_bytes(tpm_host, "other"), tmp_path))
    tpm_host.virsh(*upload(tpm_host, "one", content, tmp_path))
    assert path.read_bytes() == content


def test_wipe_by_trim_is_refused(tpm_host):
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    said = tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm", "--algorithm", "trim")
    assert messages.WIPE_BY_TRIM("one") in said
    assert tpm_host.contents(POOL) == before


def test_wipe_and_delete_of_a_volume_in_use(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    before = tpm_host.contents(POOL)
    for command in ("vol-wipe", "vol-delete"):
        said = tpm_host.virsh_fails(command, "one", "--pool", "tpm")
        assert IN_USE in said
    assert tpm_host.contents(POOL).keys() == before.keys()
    assert tpm_host.virsh("domstate", "guest") == "running"


def test_delete_that_overwrites(tpm_host):
    """virsh has no option for it."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    os.link(path, path.with_name(".old"))
    script = """
import libvirt
volume = libvirt.open("qemu:///system").storagePoolLookupByName("tpm").storageVolLookupByName("one")
volume.delete(libvirt.VIR_STORAGE_VOL_DELETE_ZEROED)
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == 0, done.stderr
    assert not any(path.with_name(".old").read_bytes())
    path.with_name(".old").unlink()
    assert tpm_host.contents(POOL) == {}
    assert tpm_host.virsh("vol-list", "tpm") == ""


def test_resize_says_that_it_need_not_be(tpm_host):
    tpm_host.create_volume("one")
    for size in ("2M", "512k"):
        said = tpm_host.virsh_fails("vol-resize", "one", size, "--pool", "tpm", "--shrink")
        assert messages.RESIZE("one") in said


def test_leftover_of_a_wipe_is_overwritten(tpm_host):
    """A daemon that is killed leaves the old content under the name of a temporary."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    content = path.read_bytes()
    for suffix in ("tmptpm", "oldtpm"):
        left = path.with_name(f".one.Ab12Cd.{suffix}")
        os.link(path, left)
        tpm_host.virsh("pool-refresh", "tpm")
        assert not left.exists() and path.read_bytes() == content

        left.write_bytes(content)
        with open(left, "rb") as old:
            tpm_host.virsh("pool-refresh", "tpm")
            assert not left.exists()
            assert not any(old.read())


# A scrub that has overwritten nothing, and one that has overwritten a part.
SCRUBS = {
    "nothing": "exit 1",
    "part": 'for path; do true; done; printf garbage | dd conv=notrunc status=none of="$path"; exit 1',
}


@pytest.mark.parametrize("scrub", SCRUBS)
def test_wipe_that_fails(tpm_host, scrub):
    """The old content is overwritten nevertheless, and the error is about the volume."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    with open(path, "rb") as old:
        with tpm_host.in_place("scrub", SCRUBS[scrub]):
            said = tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm", "--algorithm", "nnsa")
        assert not any(old.read())
    assert messages.WIPED_WITH_ZEROS_ONLY("one", "tpm", LINES) in said
    assert f"scrub -f -p nnsa {path}" in said and "/proc/" not in said
    assert path.read_bytes() == b""
    assert {file.name for file in path.parent.iterdir()} == {"one", "one.tpm.xml"}
    tpm_host.virsh("vol-wipe", "one", "--pool", "tpm", "--algorithm", "nnsa")


@pytest.mark.parametrize("what", ["delete_zeroed", "wipe"])
def test_content_that_cannot_be_overwritten(tpm_host, what):
    """It is kept and named, and overwritten when that can be done."""
    path = tpm_host.path(tpm_host.create_volume("c0"))
    witness = Witness(path)
    with Preload(tpm_host, [POOL]) as preload:
        client = storm.Client({"c": None})
        preload.arm(("write",), fail=1, lasting=True)
        with pytest.raises(libvirt.libvirtError) as failure:
            getattr(client, what)("c0")
        preload.disarm()
        left, = path.parent.glob(".c0.*.oldtpm")
        assert messages.OLD_CONTENT_LEFT("c0", "tpm", left) in Output(failure.value)
        getattr(client, what)("c0")
        assert not list(path.parent.glob(".*"))
        assert not witness.lost()
        witness.close()
        assert path.exists() == (what == "wipe")


def test_torn_read(tpm_host):
    """A guest writes to its TPM while the volume is read: the volume stays what it is."""
    path = tpm_host.path(tpm_host.create_volume("c0"))
    before = tpm_host.describe("c0")
    torn = path.read_bytes()
    for key in before.findall("tpm/endorsement"):
        der = ssl.PEM_cert_to_DER_cert(key.text)
        assert torn.count(der[-8:]) == 1
        torn = torn.replace(der[-8:], bytes(8))
    with Preload(tpm_host, [POOL]) as preload, open(path, "r+b", buffering=0) as file:
        tpm_host.lock(file)
        client = storm.Client({"c": None})
        whole = file.read()
        os.pwrite(file.fileno(), torn, 0)
        # The volume is opened, then its sidecar.
        preload.arm(("open",), stop=2)
        now = []
        look = Deed(lambda: now.append(client.describe("c0")))
        wait_for("it has read the volume", lambda: preload.control.stopped, every=0.001, timeout=20)
        os.pwrite(file.fileno(), whole, 0)
        preload.control.go = 1
        assert look.ended(20) and look.error is None
        assert "c0.tpm.xml" in str(preload.disarm()[1])
        assert ElementTree.tostring(now[0].find("tpm")) == ElementTree.tostring(before.find("tpm"))
