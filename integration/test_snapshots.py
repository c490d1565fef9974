"""Snapshots of domains whose TPM is a volume."""

import subprocess

import pytest

import messages
import xmls
from host import POOL

IMAGES = "/var/lib/libvirt/images"


def make_disk(host, name):
    """A disk that can hold snapshots."""
    path = host.path(f"{IMAGES}/{name}.qcow2")
    path.parent.mkdir(exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    return path


@pytest.fixture
def guest(tpm_host):
    """A domain with a TPM volume and a disk."""
    tpm_host.create_volume("one")
    disk = make_disk(tpm_host, "disk")
    return tpm_host.define_guest(tpm=xmls.tpm_volume("one") + "\n" + xmls.disk(disk))


def start_and_seal(guest):
    """The guest runs, and unseals what it has sealed again and again."""
    guest.start("watch")
    sealed = guest.wait_report("sealed").split()[1]
    guest.wait_report("unsealed")
    return sealed


def needs_internal_revert(host):
    """libvirt 11.3 can't revert to an internal snapshot with memory on every QEMU that it supports."""
    plain = host.define_guest("plain", xmls.disk(make_disk(host, "plain")))
    plain.start()
    host.virsh("snapshot-create-as", "plain", "then")
    done = host.run("virsh", "-q", "snapshot-revert", "plain", "then")
    if done.returncode:
        pytest.skip(f"nor can a guest without a TPM: {done.stderr.strip()}")


def memory_options(kind):
    """Where a snapshot keeps the guest's memory."""
    if kind == "internal":
        return []
    return ["--memspec", f"{IMAGES}/memory", "--diskspec", "sda,snapshot=external"]


@pytest.mark.guest
@pytest.mark.parametrize("kind", ["internal", "external"])
def test_snapshot_and_revert(tpm_host, guest, kind):
    """The TPM goes back with the memory, and so it does where the guest was off meanwhile."""
    if kind == "internal":
        needs_internal_revert(tpm_host)
    sealed = start_and_seal(guest)
    tpm_host.virsh("snapshot-create-as", "guest", "then", *memory_options(kind))
    uuid = tpm_host.identity("one")
    assert f"<source type='volume' uuid='{uuid}'" in tpm_host.virsh("snapshot-dumpxml", "guest", "then")

    tpm_host.virsh("snapshot-revert", "guest", "then")
    assert guest.state() == "running"
    guest.wait_report(f"unsealed {sealed}")
    guest.next_report()

    tpm_host.virsh("destroy", "guest")
    tpm_host.virsh("snapshot-revert", "guest", "then")
    guest.next_report()
    assert not any(line.startswith("FAILED") for line in guest.console())

    tpm_host.virsh("destroy", "guest")
    inactive = tpm_host.virsh("dumpxml", "guest")
    assert "<source type='volume'/>" in inactive
    assert tpm_host.identity("one") == uuid
    tpm_host.opens_in_swtpm(f"{POOL}/one")


@pytest.mark.guest
@pytest.mark.parametrize("running", [True, False])
def test_revert_refuses_another_identity(tpm_host, guest, running):
    """And the guest that runs goes on."""
    start_and_seal(guest)
    tpm_host.virsh("snapshot-create-as", "guest", "then")
    tpm_host.virsh("destroy", "guest")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    tpm_host.create_volume("one")
    if running:
        guest.start("unsealing,idle")
        guest.wait_report("FAILED unsealing")
    before = tpm_host.contents(POOL)
    said = tpm_host.virsh_fails("snapshot-revert", "guest", "then")
    assert messages.HAS_OTHER_IDENTITY("one", "tpm") in said
    assert guest.state() == ("running" if running else "shut off")
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh_fails("snapshot-revert", "guest", "then", "--force")
    assert tpm_host.contents(POOL) == before


def test_offline_internal_snapshot_is_refused(tpm_host, guest):
    """The TPM would stay behind."""
    before = tpm_host.contents(POOL, IMAGES)
    said = tpm_host.virsh_fails("snapshot-create-as", "guest", "then")
    assert messages.NO_INTERNAL_SNAPSHOT("one", "tpm") in said
    assert tpm_host.contents(POOL, IMAGES) == before
    assert tpm_host.virsh("snapshot-list", "guest", "--name") == ""


def test_offline_internal_snapshot_of_a_guest_without_volume(tpm_host, guest):
    guest.tpm = guest.tpm.replace(xmls.tpm_volume("one"), xmls.tpm_emulator())
    tpm_host.virsh("undefine", "guest")
    guest.define("info")
    tpm_host.virsh("snapshot-create-as", "guest", "then")
    tpm_host.virsh("snapshot-delete", "guest", "then")


LEFT_OUT = "snapshot 'then' of domain 'guest' does not include the TPM on volume 'one' of pool 'tpm'"


@pytest.mark.parametrize("running", [True, False])
def test_snapshot_without_memory(tpm_host, guest, running):
    """It leaves the TPM out, which is logged; and so does a revert to it, which needs force."""
    if running:
        guest.start_paused()
    state = guest.state()
    before = tpm_host.contents(POOL)
    tpm_host.virsh("snapshot-create-as", "guest", "then", "--disk-only",
                   "--diskspec", f"sda,snapshot=external,file={IMAGES}/overlay")
    assert tpm_host.contents(POOL) == before
    assert LEFT_OUT in tpm_host.log()

    pid = guest.pid("qemu") if running else None
    images = tpm_host.contents(IMAGES)
    xml = tpm_host.virsh("dumpxml", "guest")
    said = tpm_host.virsh_fails("snapshot-revert", "guest", "then")
    assert messages.SNAPSHOT_WITHOUT_TPM("then", "one", "tpm") in said
    assert guest.state() == state
    assert not running or guest.pid("qemu") == pid
    assert tpm_host.contents(IMAGES) == images
    assert tpm_host.virsh("dumpxml", "guest") == xml

    tpm_host.virsh("snapshot-revert", "guest", "then", "--force")
    assert guest.state() == "shut off"
    assert tpm_host.contents(POOL).keys() == before.keys()


def test_internal_snapshot_of_before(tpm_host, guest):
    """Such as a guest has that was given its volume later."""
    volume = guest.tpm
    guest.tpm = guest.tpm.replace(xmls.tpm_volume("one"), "")
    guest.define("info")
    tpm_host.virsh("snapshot-create-as", "guest", "then")
    guest.tpm = volume
    guest.define("info")
    said = tpm_host.virsh_fails("snapshot-revert", "guest", "then")
    assert messages.SNAPSHOT_WITHOUT_TPM("then", "one", "tpm") in said
    tpm_host.virsh("snapshot-revert", "guest", "then", "--force")
    assert tpm_host.virsh("snapshot-current", "guest", "--name") == "then"


def test_snapshot_with_memory_is_not_complained_of(tpm_host, guest):
    guest.start()
    logged = len(tpm_host.log())
    tpm_host.virsh("snapshot-create-as", "guest", "then", *memory_options("external"))
    assert LEFT_OUT not in tpm_host.log()[logged:]
    tpm_host.virsh("snapshot-revert", "guest", "then")
    assert guest.state() == "running"
