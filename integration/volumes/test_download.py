"""vol-download, backup and restore.

Also of a TPM that is in use: the copy is of one moment, or there is none.
"""

import os
import ssl
from xml.etree import ElementTree

import pytest

import messages
import storm
import xmls
from host import POOL, wait_for
from preload import Deed, Preload
from transfers import create_blank, upload, volume_bytes


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
