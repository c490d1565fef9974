"""Snapshots of domains whose TPM is a volume.

Those with memory hold the state of the TPM as well; others are refused or leave it alone.
"""

import contextlib
import os
import subprocess

import pytest

import messages
import xmls
from expected import ANY
from host import IMAGES, POOL


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
    """libvirt 11.3 cannot revert to an internal snapshot with memory on every QEMU that it supports."""
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
    then = tpm_host.identity("one")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
    tpm_host.create_volume("one")
    if running:
        guest.start("unsealing,idle")
        guest.wait_report("FAILED unsealing")
    before = tpm_host.contents(POOL)
    said = tpm_host.virsh_fails("snapshot-revert", "guest", "then")
    assert messages.HAS_OTHER_IDENTITY("one", "tpm", tpm_host.identity("one"), then) in said
    assert guest.state() == ("running" if running else "shut off")
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh_fails("snapshot-revert", "guest", "then", "--force")
    assert tpm_host.contents(POOL) == before


def lock(host, path):
    """Somebody uses the volume, such as another host."""
    with open(path, "r+b") as file:
        host.lock(file)
        yield messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(os.getpid()))


def another_guest(host, _):
    host.define_guest("other", tpm=xmls.tpm_volume("one")).start_paused()
    yield messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(ANY, "swtpm"))


def copy_that_runs(host, path):
    for suffix in ("", ".tpm.xml"):
        host.run("cp", "-p", f"{path}{suffix}", path.with_name(f"three{suffix}"))
    host.define_guest("other", tpm=xmls.tpm_volume("three")).start_paused()
    yield messages.COPY_RUNS_IN(host.identity("one"), "one", "tpm")


def wipe(host, _):
    host.virsh("vol-wipe", "one", "--pool", "tpm")
    yield messages.BLANK("one", "tpm")


def damage(_, path):
    path.write_bytes(path.read_bytes()[:-260000])
    yield messages.DAMAGED("one", "tpm")


def delete(host, _):
    host.virsh("vol-delete", "one", "--pool", "tpm")
    yield messages.NOT_FOUND("one", "tpm")


def stop_pool(host, _):
    host.virsh("pool-destroy", "tpm")
    yield messages.POOL_INACTIVE("tpm", "one")


def lose_secret(host, _):
    host.virsh("secret-undefine", SECRET)
    yield messages.SECRET_NOT_DEFINED(f"uuid='{SECRET}'", "one", "tpm")


SECRET = "6f1f2f0e-9d5b-4f0e-8a4e-6c1d2b3a4f50"


@pytest.mark.parametrize("harm", [lock, another_guest, copy_that_runs, wipe, damage, delete, stop_pool, lose_secret])
@pytest.mark.parametrize("memory", [True, False])
def test_revert_to_a_volume_that_cannot_be_used(tpm_host, guest, harm, memory):
    """The guest runs on another volume now, and goes on."""
    path = tpm_host.path(f"{POOL}/one")
    if harm is lose_secret:
        tpm_host.virsh("secret-define", "/dev/stdin", input=xmls.secret(SECRET, "key"))
        tpm_host.set_secret(SECRET, "open sesame")
        tpm_host.virsh("vol-delete", "one", "--pool", "tpm")
        tpm_host.create_volume("one", encryption="vtpm", secret=SECRET)
    guest.start()
    kind = memory_options("external") if memory else [
        "--disk-only", "--diskspec", f"sda,snapshot=external,file={IMAGES}/overlay"]
    tpm_host.virsh("snapshot-create-as", "guest", "then", *kind)
    tpm_host.virsh("destroy", "guest")
    tpm_host.create_volume("two")
    text = tpm_host.virsh("dumpxml", "guest", "--security-info").replace("volume='one'", "volume='two'")
    tpm_host.virsh("define", "/dev/stdin", input=text)
    tpm_host.virsh("start", "guest")
    pid = guest.pid("qemu")
    with contextlib.contextmanager(harm)(tpm_host, path) as message:
        before = tpm_host.contents(IMAGES)
        said = tpm_host.virsh_fails("snapshot-revert", "guest", "then", "--running", "--force")
        assert message in said
        assert guest.state() == "running" and guest.pid("qemu") == pid
        assert tpm_host.contents(IMAGES) == before


def test_revert_on_its_own_volume(tpm_host, guest):
    """Which its own swtpm has locked, until it is stopped."""
    guest.start()
    tpm_host.virsh("snapshot-create-as", "guest", "then", *memory_options("external"))
    tpm_host.virsh("snapshot-revert", "guest", "then", "--running")
    assert guest.state() == "running"


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
    assert guest.state() == ("paused" if running else "shut off")
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
