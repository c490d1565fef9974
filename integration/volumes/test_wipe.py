"""vol-wipe, and vol-delete that overwrites.

What was in the volume is gone, also after an interruption, and it takes another state.
"""

import os

import libvirt
import pytest

import messages
import storm
import xmls
from expected import LINES, Output
from faults import Witness
from host import POOL, permanent_blob
from preload import Preload
from transfers import IN_USE, create_blank, upload, volume_bytes

ALGORITHMS = ["zero", "nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33", "random"]


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
