"""vol-upload: what is taken, what is refused, and how the volume is described afterwards.

The state is opened before it is taken, and the description follows what it is.
"""

import os
import re
from xml.etree import ElementTree

import pytest

import messages
from expected import ANY
import xmls
from host import FORMS, IMAGES, POOL, permanent_blob
from transfers import upload, volume_bytes


# Upload

@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_upload_to_a_blank_volume(tpm_host, encrypted, tmp_path, form, sparse):
    """What is uploaded is stored as a linear file; the volume keeps its identity."""
    for name, what in (("clear", {}), ("secret", encrypted)):
        tpm_host.create_volume(name, **what)
        linear = volume_bytes(tpm_host, name)
        tpm_host.create_volume(f"{name}-2", tpm=xmls.BLANK, **what)
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
    tpm_host.create_volume("two", tpm=xmls.BLANK)
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
    tpm_host.path(IMAGES).mkdir(exist_ok=True)
    for name, what in (("clear", {}), ("secret", encrypted)):
        content = tpm_host.path(tpm_host.create_volume(name, **what)).read_bytes()
        tpm_host.path(f"/var/lib/libvirt/images/{name}").write_bytes(content)
        tpm_host.create_volume(f"{name}-blank", tpm=xmls.BLANK, **what)
        tpm_host.virsh(*upload(tpm_host, f"{name}-blank", content, tmp_path))
    tpm_host.define_pool("plain", "dir", IMAGES)
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
    tpm_host.create_volume("blank", tpm=xmls.BLANK, **encrypted)
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
    tpm_host.create_volume("one", tpm=xmls.BLANK if blank else "")
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
        tpm_host.create_volume(f"{name}-2", tpm=xmls.BLANK, **what)
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
