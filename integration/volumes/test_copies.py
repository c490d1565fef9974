"""vol-create-from and vol-clone: copies, conversions, imports and exports.

The copy is the same TPM or a new one, under another secret or none, in this pool or another.
"""

import itertools
import os
import shutil

import libvirt
import pytest

import messages
import xmls
from expected import Output, error
from preload import Deed, Preload
from host import FORMS, IMAGES, IMPLICIT, POOL, permanent_blob


@pytest.fixture
def secrets(tpm_host):
    """Two secrets, as volumes name them: {"first": {...}, ...}; "none" is no secret."""
    uuids = {name: tpm_host.define_secret(f"{name} passphrase", f"tpm-{name}")
             for name in ("first", "second")}
    named = {name: {"encryption": "vtpm", "secret": uuid} for name, uuid in uuids.items()}
    return {"none": {}, **named}


def passphrase(name):
    """The value of one of the secrets, or None."""
    return None if name == "none" else f"{name} passphrase"


def other_pool(host, *files):
    """A dir pool that holds files: (name, bytes)."""
    folder = host.path(IMAGES)
    folder.mkdir(exist_ok=True)
    for name, content in files:
        (folder / name).write_bytes(content)
    host.define_pool("plain", "dir", IMAGES)


# tpm to tpm

@pytest.mark.parametrize("target", ["none", "first", "second"])
@pytest.mark.parametrize("source", ["none", "first", "second"])
def test_copy(tpm_host, secrets, source, target):
    """A copy is the same TPM under any secret, and the source stays as it is."""
    tpm_host.create_volume("one", **secrets[source])
    before = tpm_host.contents(POOL)
    path = tpm_host.copy_volume("one", "two", **secrets[target])

    assert tpm_host.contents(POOL).items() >= before.items()
    assert tpm_host.identity("two") == tpm_host.identity("one")
    assert tpm_host.endorsements("two") == tpm_host.endorsements("one")
    assert len(tpm_host.endorsements("two")) == 2
    encryption = tpm_host.describe("two").find("target/encryption/secret")
    assert (encryption is None) == (target == "none")
    tpm_host.opens_in_swtpm(path, passphrase(target))
    for other in {"none", "first", "second"} - {target, "none"}:
        with pytest.raises(AssertionError):
            tpm_host.opens_in_swtpm(path, passphrase(other))
    clear = {tpm_host.path(f"{POOL}/{volume}") for volume, secret in (("one", source), ("two", target))
             if secret == "none"}
    assert set(tpm_host.clear_files(POOL, "/run/libvirt", "/var/log/libvirt")) == clear


def test_clone(tpm_host, secrets):
    """vol-clone gives the source's whole description to vol-create-from."""
    banks = "<tpm><active_pcr_banks><sha1/><sha384/></active_pcr_banks></tpm>"
    tpm_host.create_volume("one", tpm=banks, capacity=2 << 20, **secrets["first"])
    tpm_host.virsh("vol-clone", "one", "two", "--pool", "tpm")
    assert tpm_host.path(f"{POOL}/two").read_bytes() == tpm_host.path(f"{POOL}/one").read_bytes()
    one, two = tpm_host.describe("one"), tpm_host.describe("two")
    for what in ("capacity", "tpm/uuid"):
        assert one.findtext(what) == two.findtext(what)
    assert [bank.tag for bank in two.find("tpm/active_pcr_banks")] == ["sha1", "sha384"]


def test_copy_to_another_tpm_pool(tpm_host, secrets):
    tpm_host.create_volume("one", **secrets["first"])
    tpm_host.define_pool("spare", target="/var/lib/libvirt/images/spare")
    path = tpm_host.copy_volume("one", "one", pool="spare", **secrets["second"])
    assert tpm_host.identity("one", "spare") == tpm_host.identity("one")
    tpm_host.opens_in_swtpm(path, passphrase("second"))


def replace_volume(folder, name, other):
    """Volume and description, at once for whoever is stopped."""
    for suffix in ("", ".tpm.xml"):
        shutil.copy(folder / f"{other}{suffix}", folder / f".{name}.replacing")
        (folder / f".{name}.replacing").rename(folder / f"{name}{suffix}")


def test_copy_of_a_volume_that_is_replaced(tpm_host):
    """By another host, while it is copied: a copy has state and identity of one TPM. Nothing but its identity
    tells a TPM of version 1.2 from another."""
    folder = tpm_host.path(POOL)
    states = {}
    for name in ("one", "two"):
        path = tpm_host.path(tpm_host.create_volume(name, tpm="<tpm version='1.2'/>"))
        states[tpm_host.identity(name)] = permanent_blob(path.read_bytes())
    replace_volume(folder, "old", "one")
    refused = 0
    with Preload(tpm_host, [POOL]) as preload:
        pool = libvirt.open("storage:///system").storagePoolLookupByName("tpm")
        for number in itertools.count(1):
            preload.arm(["open"], stop=number)
            copy = Deed(lambda: pool.createXMLFrom(xmls.volume("copy"), pool.storageVolLookupByName("one")))
            if not preload.is_reached(copy):
                break
            replace_volume(folder, "one", "two")
            preload.control.go = 1
            assert copy.ended(30)
            preload.disarm()
            if copy.error:
                assert messages.COPY_REPLACED("one", "tpm") in Output(copy.error)
                refused += 1
            else:
                assert states[tpm_host.identity("copy")] == permanent_blob((folder / "copy").read_bytes()), number
                tpm_host.virsh("vol-delete", "copy", "--pool", "tpm")
            replace_volume(folder, "one", "old")
    assert refused
    for file in folder.glob("old*"):
        file.unlink()


@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_new_identity(tpm_host, secrets, version):
    """Another TPM with the source's parameters."""
    tpm_host.create_volume("one", tpm=f"<tpm version='{version}'/>", **secrets["first"])
    tpm_host.copy_volume("one", "two", tpm="<tpm identity='new'/>", **secrets["second"])
    one, two = tpm_host.describe("one").find("tpm"), tpm_host.describe("two").find("tpm")
    assert two.get("version") == version
    assert two.get("identity") is None
    assert one.findtext("uuid") != two.findtext("uuid")
    assert not set(tpm_host.endorsements("one").values()) & set(tpm_host.endorsements("two").values())
    if version == "2.0":
        tpm_host.opens_in_swtpm(f"{POOL}/two", passphrase("second"))


def test_new_identity_has_the_banks(tpm_host):
    tpm_host.create_volume("one", tpm="<tpm><active_pcr_banks><sha384/></active_pcr_banks></tpm>")
    tpm_host.copy_volume("one", "two", tpm="<tpm identity='new'/>")
    assert [bank.tag for bank in tpm_host.describe("two").find("tpm/active_pcr_banks")] == ["sha384"]


def test_copy_of_version_1_2(tpm_host, secrets):
    tpm_host.create_volume("one", tpm="<tpm version='1.2'/>")
    tpm_host.copy_volume("one", "two", **secrets["first"])
    assert tpm_host.describe("two").find("tpm").get("version") == "1.2"
    tpm_host.copy_volume("two", "three")
    assert tpm_host.describe("three").find("tpm").get("version") == "1.2"
    assert permanent_blob(tpm_host.path(f"{POOL}/three").read_bytes()) == \
        permanent_blob(tpm_host.path(f"{POOL}/one").read_bytes())


def test_copy_of_a_running_tpm(tpm_host, secrets):
    tpm_host.create_volume("one", **secrets["first"])
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    path = tpm_host.copy_volume("one", "two", **secrets["second"])
    tpm_host.opens_in_swtpm(path, passphrase("second"))


@pytest.mark.parametrize("what, message", [
    ({"tpm": "<tpm version='1.2'/>"}, messages.COPY_OF_OTHER_VERSION("two", "1.2", "one", "2.0")),
    ({"tpm": "<tpm><active_pcr_banks><sha1/></active_pcr_banks></tpm>"},
     messages.COPY_WITH_OTHER_BANKS("two", "one")),
    ({"tpm": "<tpm><profile source='null'/></tpm>"}, messages.COPY_WITH_OTHER_PROFILE("two", "one")),
    ({"tpm": "<tpm manufacture='no'/>"}, messages.BLANK_COPY("two")),
    ({"format": "qcow2"}, messages.QCOW2_NOT_YET("two")),
])
def test_refused_copies(tpm_host, what, message):
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    assert message in tpm_host.copy_fails("one", "two", **what)
    assert tpm_host.contents(POOL) == before


def test_copy_needs_the_secret(tpm_host, secrets):
    tpm_host.create_volume("one", **secrets["first"])
    before = tpm_host.contents(POOL)
    secret = secrets["first"]["secret"]

    tpm_host.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input="wrong")
    for what in ("first", "second"):
        assert messages.WRONG_PASSPHRASE("one", "tpm") in tpm_host.copy_fails("one", "two", **secrets[what])

    tpm_host.virsh("secret-undefine", secret)
    said = tpm_host.copy_fails("one", "two", **secrets["second"])
    assert messages.SECRET_NOT_DEFINED(f"uuid='{secret}'", "one", "tpm") in said
    assert tpm_host.contents(POOL) == before


def test_copy_of_what_is_no_tpm(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.write_bytes(b"x" * 1000)
    assert messages.HOLDS_UNKNOWN("one", "tpm") in tpm_host.copy_fails("one", "two")
    path.write_bytes(b"")
    assert messages.BLANK("one", "tpm") in tpm_host.copy_fails("one", "two")


@pytest.mark.parametrize("content, message", [
    (lambda linear: b"QFI\xfb" + bytes(1000), messages.HOLDS_QCOW2),
    (lambda linear: b"LUKS\xba\xbe" + bytes(1000), messages.HOLDS_LUKS),
    (permanent_blob, messages.HOLDS_BLOB),
    (lambda linear: linear[:-1000], messages.DAMAGED),
], ids=["qcow2", "luks", "blob", "cut-short"])
def test_copy_says_what_it_looks_like(tpm_host, content, message):
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.write_bytes(content(path.read_bytes()))
    assert message("one", "tpm") in tpm_host.copy_fails("one", "two")


def test_copy_to_a_full_disk(tpm_host):
    """To another tpm pool; nothing is left there."""
    tpm_host.create_volume("one")
    folder = tpm_host.path(f"{IMAGES}/spare")
    tpm_host.define_pool("spare", target=str(folder))
    tpm_host.virsh("pool-destroy", "spare")
    tpm_host.run("mount", "-t", "tmpfs", "-o", "size=8k,mode=0711", "tmpfs", folder)
    try:
        tpm_host.virsh("pool-start", "spare")
        assert "No space left on device" in tpm_host.copy_fails("one", "two", pool="spare")
        assert tpm_host.contents(folder) == {}
        assert tpm_host.virsh("vol-list", "spare") == ""
        tpm_host.virsh("pool-destroy", "spare")
    finally:
        tpm_host.run("umount", folder)


def test_copy_finds_another_tpm_out(tpm_host, secrets):
    """The certificates of a description are compared with the keys that the TPM has."""
    for name in ("one", "other"):
        tpm_host.create_volume(name, **secrets["first"])
    shutil.copy(tpm_host.path(f"{POOL}/other"), tpm_host.path(f"{POOL}/one"))
    said = tpm_host.copy_fails("one", "two", **secrets["first"])
    assert messages.OTHER_TPM_THAN_DESCRIBED("one", "tpm") in said


def test_failed_copy_keeps_what_was_put_there(tpm_host):
    """A file that came by hand is neither replaced nor removed."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.with_name("two").write_bytes(b"by hand")
    before = tpm_host.contents(POOL)
    assert error("VIR_ERR_OPERATION_INVALID", f"'{POOL}/two'") in tpm_host.copy_fails("one", "two")
    assert tpm_host.contents(POOL) == before


# Other pool to tpm

@pytest.mark.parametrize("encryption", ["none", "first"])
@pytest.mark.parametrize("form", FORMS)
def test_import(tpm_host, secrets, form, encryption):
    """What is imported is a linear file, and is described from what the TPM tells."""
    linear = tpm_host.path(tpm_host.create_volume("one", **secrets[encryption])).read_bytes()
    other_pool(tpm_host, ("state", FORMS[form](linear)))
    path = tpm_host.copy_volume("state", "two", inputpool="plain", **secrets[encryption])
    assert tpm_host.path(path).read_bytes() == linear
    tpm_host.opens_in_swtpm(path, passphrase(encryption))
    assert tpm_host.endorsements("two") == tpm_host.endorsements("one")
    assert tpm_host.identity("two") not in (None, tpm_host.identity("one"))
    described = tpm_host.describe("two").find("tpm")
    assert described.get("version") == "2.0"
    assert [bank.tag for bank in described.find("active_pcr_banks")] == ["sha256"]


def test_import_and_encrypt(tpm_host, secrets):
    linear = tpm_host.path(tpm_host.create_volume("one")).read_bytes()
    other_pool(tpm_host, ("state", permanent_blob(linear)))
    path = tpm_host.copy_volume("state", "two", inputpool="plain", **secrets["first"])
    tpm_host.opens_in_swtpm(path, passphrase("first"))
    assert tpm_host.endorsements("two") == tpm_host.endorsements("one")


def test_import_of_version_1_2(tpm_host):
    linear = tpm_host.path(tpm_host.create_volume("one", tpm="<tpm version='1.2'/>")).read_bytes()
    other_pool(tpm_host, ("state", permanent_blob(linear)))
    tpm_host.copy_volume("state", "two", inputpool="plain")
    assert tpm_host.describe("two").find("tpm").get("version") == "1.2"


@pytest.mark.parametrize("form, message", [
    (lambda linear: b"x" * 1000, messages.IMPORT_FOREIGN(f"{IMAGES}/state", "two", "unknown")),
    (lambda linear: b"", messages.IMPORT_FOREIGN(f"{IMAGES}/state", "two", "blank")),
    (lambda linear: bytes(1 << 20), messages.IMPORT_FOREIGN(f"{IMAGES}/state", "two", "blank")),
    (lambda linear: linear[:-1000], messages.IMPORT_FOREIGN(f"{IMAGES}/state", "two", "damaged")),
    (lambda linear: permanent_blob(linear)[:-1], messages.IMPORT_FOREIGN(f"{IMAGES}/state", "two", "damaged")),
    (lambda linear: linear.ljust((16 << 20) + 1, b"\0"), messages.CAPACITY("two", (16 << 20) + 1)),
], ids=["foreign", "empty", "zeros", "cut-short", "blob-cut-short", "large"])
def test_refused_imports(tpm_host, form, message):
    linear = tpm_host.path(tpm_host.create_volume("one")).read_bytes()
    other_pool(tpm_host, ("state", form(linear)))
    before = tpm_host.contents(POOL)
    assert message in tpm_host.copy_fails("state", "two", inputpool="plain")
    assert tpm_host.contents(POOL) == before


def test_import_of_encrypted_state_needs_its_secret(tpm_host, secrets):
    linear = tpm_host.path(tpm_host.create_volume("one", **secrets["first"])).read_bytes()
    other_pool(tpm_host, ("state", permanent_blob(linear)))
    assert messages.IMPORT_ENCRYPTED(f"{IMAGES}/state", "two") in \
        tpm_host.copy_fails("state", "two", inputpool="plain")
    assert messages.WRONG_PASSPHRASE("two", "tpm") in \
        tpm_host.copy_fails("state", "two", inputpool="plain", **secrets["second"])
    assert messages.NEW_IDENTITY_OF_IMPORT("two") in \
        tpm_host.copy_fails("state", "two", inputpool="plain", tpm="<tpm identity='new'/>")


def test_import_with_other_banks_is_refused(tpm_host):
    linear = tpm_host.path(tpm_host.create_volume("one")).read_bytes()
    other_pool(tpm_host, ("state", linear))
    banks = "<tpm><active_pcr_banks><sha1/></active_pcr_banks></tpm>"
    assert messages.IMPORT_WITH_OTHER_BANKS("two") in \
        tpm_host.copy_fails("state", "two", inputpool="plain", tpm=banks)


# tpm to other pool

def test_export(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    other_pool(tpm_host)
    copy = tpm_host.path(tpm_host.copy_volume("one", "state", "plain", capacity=0))
    assert copy.read_bytes().startswith(path.read_bytes())
    tpm_host.copy_volume("state", "two", inputpool="plain")
    assert path.with_name("two").read_bytes() == path.read_bytes()


def test_export_to_another_format(tpm_host):
    """By qemu-img, which heeds locks."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    other_pool(tpm_host)
    copy = tpm_host.copy_volume("one", "state", "plain", capacity=0, format="qcow2")
    done = tpm_host.run("qemu-img", "dd", "-O", "raw", f"if={copy}", f"of={IMAGES}/raw")
    assert done.returncode == 0, done.stderr
    assert tpm_host.path(f"{IMAGES}/raw").read_bytes().startswith(path.read_bytes())


def test_refused_exports(tpm_host, secrets):
    """An encrypted volume, one that is in use, a blank one."""
    tpm_host.create_volume("encrypted", **secrets["first"])
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    path = tpm_host.path(tpm_host.create_volume("used"))
    other_pool(tpm_host)
    for name in ("encrypted", "blank"):
        said = tpm_host.copy_fails(name, "state", "plain", capacity=0)
        assert messages.EXPORT_NOT_CLEAR(name, "tpm", "plain", "dir") in said
    with open(path, "r+b") as file:
        tpm_host.lock(file)
        said = tpm_host.copy_fails("used", "state", "plain", capacity=0)
        assert messages.EXPORT_PREFIX("plain", "dir") in said
        assert messages.IN_USE("used", "tpm", messages.PROCESS_NAMED(os.getpid())) in said
    assert tpm_host.contents(IMAGES) == {}


def test_refused_export_makes_nothing(tpm_host, secrets):
    """It is refused before anything of the other pool is touched."""
    tpm_host.create_volume("encrypted", **secrets["first"])
    other_pool(tpm_host)
    # Where a file of that name came by hand, making the volume is refused.
    tpm_host.path(f"{IMAGES}/state").write_bytes(b"by hand")
    said = tpm_host.copy_fails("encrypted", "state", "plain", capacity=0)
    assert messages.EXPORT_NOT_CLEAR("encrypted", "tpm", "plain", "dir") in said
    assert tpm_host.path(f"{IMAGES}/state").read_bytes() == b"by hand"


def test_export_of_what_is_not_as_it_is_described(tpm_host, secrets):
    """Clear state in the place of an encrypted volume."""
    tpm_host.create_volume("one", **secrets["first"])
    clear = tpm_host.path(tpm_host.create_volume("clear"))
    shutil.copy(clear, clear.with_name("one"))
    other_pool(tpm_host)
    said = tpm_host.copy_fails("one", "state", "plain", capacity=0)
    assert messages.SECRET_FOR_CLEAR("one", "tpm") in said
    assert tpm_host.contents(IMAGES) == {}


def test_validated_copies(tpm_host):
    """--validate is heeded, for copies between pools of any types."""
    tpm_host.create_volume("one")
    other_pool(tpm_host)
    text = xmls.volume("two")
    for pool, inputpool, source in (("tpm", "tpm", "one"), ("plain", "tpm", "one"), ("plain", "plain", "two")):
        name = f"two-{inputpool}" if inputpool == "plain" else "two"
        tpm_host.virsh("vol-create-from", pool, "/dev/stdin", source, "--inputpool", inputpool, "--validate",
                       input=text.replace("two", name))
    said = tpm_host.virsh_fails("vol-create-from", "plain", "/dev/stdin", "one", "--inputpool", "tpm", "--validate",
                                input=text.replace("</name>", "</name><nonsense/>"))
    assert error("VIR_ERR_XML_INVALID_SCHEMA") in said and "nonsense" in said


# A guest unseals what it sealed, wherever its TPM has come from

@pytest.mark.guest
def test_copy_unseals(tpm_host, secrets):
    """Under another secret, and not under the original's."""
    tpm_host.create_volume("one", **secrets["first"])
    sealed = tpm_host.define_guest(tpm=xmls.tpm_volume("one")).boot("seal")["sealed"]
    tpm_host.copy_volume("one", "two", **secrets["second"])
    assert tpm_host.define_guest("second", xmls.tpm_volume("two")).boot("unseal")["unsealed"] == sealed

    first, second = secrets["first"]["secret"], secrets["second"]["secret"]
    sidecar = tpm_host.path(f"{POOL}/two.tpm.xml")
    sidecar.write_text(sidecar.read_text().replace(second, first))
    tpm_host.define_guest("third", xmls.tpm_volume("two"))
    assert messages.WRONG_PASSPHRASE("two", "tpm") in tpm_host.virsh_fails("start", "third")


@pytest.mark.guest
@pytest.mark.parametrize("form", FORMS)
def test_import_unseals(tpm_host, form):
    """State that swtpm_setup has made alone, the same padded, and what libvirt made implicitly."""
    tpm_host.define_pool("plain", "dir", IMAGES)
    tpm_host.path(IMAGES).chmod(0o777)
    state = tpm_host.path(f"{IMAGES}/state")
    inner = ""
    if form != "blob":
        inner = f"<source type='file' path='{IMAGES}/state'/>"
        tpm_host.run("setpriv", "--reuid=tss", "--regid=tss", "--clear-groups", "swtpm_setup",
                     "--tpm2", "--tpm-state", f"file://{IMAGES}/state", "--create-ek-cert")
        assert permanent_blob(state.read_bytes())
    guest = tpm_host.define_guest(tpm=xmls.tpm_emulator(inner=inner))
    sealed = guest.boot("seal")["sealed"]
    if form == "blob":
        shutil.copy(tpm_host.path(f"{IMPLICIT}/{guest.uuid}/tpm2/tpm2-00.permall"), state)
    elif form == "padded":
        state.write_bytes(state.read_bytes().ljust(4 << 20, b"\0"))
    tpm_host.virsh("pool-refresh", "plain")
    tpm_host.copy_volume("state", "two", inputpool="plain")
    assert tpm_host.define_guest("second", xmls.tpm_volume("two")).boot("unseal")["unsealed"] == sealed
