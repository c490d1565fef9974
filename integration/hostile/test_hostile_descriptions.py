"""Descriptions of volumes that somebody else has written: what they claim is not trusted, and they do no
harm."""

import os
import re
import stat
import time
from pathlib import Path

import pytest

import messages
import xmls
from expected import ANY
from host import POOL
from specialfiles import LINKS, MARK, OUTSIDE, SPECIAL, put


# Sidecars

def make_huge(path):
    path.write_text("<volume/>")
    os.truncate(path, 1 << 30)


def give_to(user, mode, group=-1):
    """What gives a file with another TPM's description to somebody."""
    def make(path):
        path.write_bytes(Path(f"{OUTSIDE}/volume.tpm.xml").read_bytes())
        path.chmod(mode)
        os.chown(path, user, group)
    return make


SIDECARS = {
    **LINKS, **SPECIAL, "link-to-sidecar": lambda path: path.symlink_to(f"{OUTSIDE}/volume.tpm.xml"),
    "huge": make_huge, "of-nobody": give_to(65534, 0o600), "writable-by-all": give_to(0, 0o666),
    "writable-by-a-group": give_to(0, 0o660, 65534),
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

    if what in ("of-nobody", "writable-by-all", "writable-by-a-group"):
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
    "external-entity": lambda text: (f"<!DOCTYPE volume [<!ENTITY x SYSTEM 'file://{OUTSIDE}/shadow'>]>\n"
                                     + re.sub("-----BEGIN CERT", "&x;", text)),
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
        sidecar.write_text(text.replace(
            "<format type='raw'/>",
            f"<encryption format='vtpm'><secret type='passphrase' uuid='{secret}'/></encryption>"))
        assert message in tpm_host.copy_fails("one", "two")
        tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
        assert message in tpm_host.virsh_fails("start", "guest")
        tpm_host.virsh("undefine", "guest")
        tpm_host.virsh("secret-undefine", secret)
