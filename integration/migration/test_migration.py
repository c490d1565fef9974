"""Live migration of guests whose TPM is a volume.

The target has a volume for the same TPM, or gets a blank one; both hosts keep theirs apart.
"""

import contextlib
import errno
import os

import pytest

import messages
import xmls
from expected import ANY
from host import GUEST_DIR, POOL, wait_for
from migrating import kill_daemon, kill_process, slow_migration, start_guest


@pytest.fixture
def target(other_host):
    """The host to migrate to, with an active tpm pool."""
    other_host.install_guest()
    other_host.define_pool()
    return other_host


def make_place(source, target, name="one", pool="tpm", **what):
    """Create the blank volume that a migration of the volume "one" fills."""
    tpm = f"<tpm manufacture='no'><uuid>{source.identity('one')}</uuid></tpm>"
    return target.path(target.create_volume(name, pool, tpm=tpm, **what))


def secrets(source, target, there):
    """What the volumes of source and target are created with."""
    if there == "clear":
        return {}, {}
    if there == "clear to encrypted":
        return {}, {"encryption": "vtpm", "secret": target.define_secret("sesame", "key")}
    here = {"encryption": "vtpm", "secret": source.define_secret("open sesame", "key")}
    if there == "encrypted to clear":
        return here, {}
    if there == "same secret":
        target.virsh("secret-define", "/dev/stdin", input=xmls.secret(here["secret"], "key"))
        target.set_secret(here["secret"], "open sesame")
        return here, here
    value = {"same value": "open sesame", "other value": "other"}[there]
    return here, {"encryption": "vtpm", "secret": target.define_secret(value, "other-key")}


# What works

@pytest.mark.guest
@pytest.mark.parametrize("how, there", [
    ("p2p", "clear"),
    ("direct", "same secret"),
    ("p2p", "same value"),
    ("tunnelled", "clear to encrypted"),
    ("direct", "clear"),
])
def test_guest_unseals_there(tpm_host, target, how, there):
    here, there = secrets(tpm_host, target, there)
    tpm_host.create_volume("one", **here)
    make_place(tpm_host, target, **there)
    guest, sealed = start_guest(tpm_host)
    sidecar = target.path(f"{POOL}/one.tpm.xml").read_bytes()

    moved = guest.migrate(target, how=how)
    assert guest.state() == "shut off"
    assert not tpm_host.is_locked(tpm_host.path(f"{POOL}/one"))
    assert moved.state() == "running"
    assert target.is_locked(target.path(f"{POOL}/one"))
    moved.wait_report(f"unsealed {sealed}")
    moved.next_report()

    target.virsh("destroy", "guest")
    assert moved.boot("unseal")["unsealed"] == sealed
    assert target.path(f"{POOL}/one.tpm.xml").read_bytes() == sidecar
    assert target.identity("one") == tpm_host.identity("one")
    encrypted = target.describe("one").find("target/encryption") is not None
    assert encrypted == bool(there)
    assert bool(target.clear_files(POOL)) != encrypted


@pytest.mark.guest
def test_pool_of_another_name(tpm_host, target):
    """The definition that is to stay has to be given as well."""
    target.define_pool("vault", target="/var/lib/libvirt/vault")
    tpm_host.create_volume("one")
    make_place(tpm_host, target, "theirs", "vault")
    guest, sealed = start_guest(tpm_host)
    xml = tpm_host.path("/var/lib/libvirt/theirs.xml")
    xml.write_text(guest.xml("unseal").replace("<storage volume='one'/>",
                                               "<storage pool='vault' volume='theirs'/>"))
    moved = guest.migrate(target, "--xml", xml, "--persistent-xml", xml)
    moved.wait_report(f"unsealed {sealed}")
    target.virsh("destroy", "guest")
    assert "pool='vault' volume='theirs'" in target.virsh("dumpxml", "guest")
    moved.tpm = xmls.tpm_volume("theirs", "vault")
    assert moved.boot("unseal")["unsealed"] == sealed
    assert list(target.contents(POOL)) == []


def test_persistent_definition_has_no_identity(tpm_host, target):
    """Even if what is to stay is given as it is dumped from the running guest."""
    tpm_host.create_volume("one")
    make_place(tpm_host, target)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    xml = tpm_host.path("/var/lib/libvirt/live.xml")
    xml.write_text(tpm_host.virsh("dumpxml", "guest", "--security-info"))
    assert f"<source type='volume' uuid='{tpm_host.identity('one')}'" in xml.read_text()
    guest.migrate(target, "--persistent-xml", xml)
    assert target.domain_tpm().find("backend/source").get("uuid") == tpm_host.identity("one")
    assert "<source type='volume'/>" in target.path("/etc/libvirt/qemu/guest.xml").read_text()
    assert target.domain_tpm("guest", "--inactive").find("backend/source").attrib == {"type": "volume"}


@pytest.mark.guest
def test_there_back_and_there_again(tpm_host, target):
    """What is left behind is older, and replaced."""
    tpm_host.create_volume("one")
    make_place(tpm_host, target)
    guest, sealed = start_guest(tpm_host)
    for host in (target, tpm_host, target):
        guest = guest.migrate(host)
        guest.wait_report(f"unsealed {sealed}")
    target.virsh("destroy", "guest")
    assert guest.boot("unseal")["unsealed"] == sealed


@pytest.mark.guest
def test_no_write_is_lost(tpm_host, target, pytestconfig):
    """The guest counts in its TPM, and complains if a number that it has written is gone. It stands
    still on the way, at whatever it does: an emulated processor of QEMU 7.2 loses writes to memory
    in a live migration now and then, also of a guest without a volume."""
    tpm_host.create_volume("one")
    make_place(tpm_host, target)
    guest, _ = start_guest(tpm_host, "nvcount")
    guest.wait_report("nv 3")
    count = 0
    for host in [target, tpm_host] * pytestconfig.getoption("round_trips"):
        left = guest
        guest = guest.migrate(host, live=False)
        guest.next_report()
        for side in (left, guest):
            for line in side.console():
                assert not line.startswith("FAILED"), line
                count = max(count, int(line.split()[1])) if line.startswith("nv ") else count
    guest.host.virsh("destroy", "guest")
    count = max(count, int(guest.console()[-1].split()[1]))
    value = int(guest.boot("nvread")["nv-value"])
    # A write may be done, and the guest gone before it could tell.
    assert value in (count, count + 1)


# What is refused, while the guest goes on

def is_refused(guest, target, message, *options, changed=False):
    """The migration fails for this reason, and changes no volume anywhere; the guest goes on."""
    before = target.contents(POOL)
    inode = guest.host.path(f"{POOL}/one").stat().st_ino
    said = guest.host.virsh_fails(*guest.migration(target, *options))
    assert message in said
    assert "CMD_INIT" not in said, said
    if changed:
        # An older state that was opened, or a blank one that got its owner.
        assert target.contents(POOL).keys() == before.keys()
        # QEMU has ended by itself while libvirt was finishing the migration. libvirt then does
        # not always give its files back to their owners, and refuses them to the next one.
        target.path(f"{GUEST_DIR}/guest.console").unlink()
    else:
        assert target.contents(POOL) == before
    assert target.virsh("list", "--name") == ""
    assert target.run("pgrep", "-x", "swtpm").stdout == ""
    assert guest.state() == "running"
    assert guest.host.path(f"{POOL}/one").stat().st_ino == inode
    assert guest.host.is_locked(guest.host.path(f"{POOL}/one"))
    guest.next_report()


@pytest.mark.guest
def test_refused_places(tpm_host, target):
    tpm_host.create_volume("one")
    guest, sealed = start_guest(tpm_host)
    uuid = tpm_host.identity("one")

    target.create_volume("other")
    is_refused(guest, target, messages.NOT_FOUND("one", "tpm"))

    target.create_volume("one")
    is_refused(guest, target, messages.HAS_OTHER_IDENTITY("one", "tpm", ANY, uuid))
    target.virsh("vol-delete", "one", "--pool", "tpm")

    target.create_volume("one", tpm="<tpm manufacture='no'/>")
    is_refused(guest, target, messages.HAS_OTHER_IDENTITY("one", "tpm", ANY, uuid))
    target.path(f"{POOL}/one.tpm.xml").unlink()
    is_refused(guest, target, messages.HAS_NO_IDENTITY("one", "tpm", uuid))
    target.virsh("vol-delete", "one", "--pool", "tpm")

    place = make_place(tpm_host, target)
    with open(place, "r+b") as file:
        target.lock(file)
        is_refused(guest, target, messages.IN_USE_ELSEWHERE("one", "tpm"))
    place.write_bytes(os.urandom(1 << 16))
    is_refused(guest, target, messages.HOLDS_UNKNOWN("one", "tpm"))
    place.write_bytes(tpm_host.path(f"{POOL}/one").read_bytes()[:-1000])
    is_refused(guest, target, messages.DAMAGED("one", "tpm"))
    place.write_bytes(b"")

    target.virsh("pool-destroy", "tpm")
    is_refused(guest, target, messages.POOL_INACTIVE("tpm", "one"))
    target.virsh("pool-start", "tpm")

    guest.migrate(target).wait_report(f"unsealed {sealed}")


@pytest.mark.guest
@pytest.mark.parametrize("there, message, late", [
    ("encrypted to clear", messages.CLEAR_TARGET("one", "tpm"), False),
    ("other value", messages.TARGET_WITH_OTHER_SECRET("one", "tpm"), True),
])
def test_refused_secrets(tpm_host, target, there, message, late):
    here, there = secrets(tpm_host, target, there)
    tpm_host.create_volume("one", **here)
    make_place(tpm_host, target, **there)
    guest, _ = start_guest(tpm_host)
    is_refused(guest, target, message, changed=late)
    assert target.describe("one").find("tpm").get("manufacture") == "no"
    if late:
        # Now with the right one.
        target.set_secret(there["secret"], "open sesame")
        guest.migrate(target).wait_report("unsealed")


@pytest.mark.guest
def test_older_state_under_another_passphrase(tpm_host, target):
    here, there = secrets(tpm_host, target, "same value")
    tpm_host.create_volume("one", **here)
    place = make_place(tpm_host, target, **there)
    guest, _ = start_guest(tpm_host)
    guest = guest.migrate(target).migrate(tpm_host)
    target.set_secret(there["secret"], "changed")
    older = place.read_bytes()
    is_refused(guest, target, messages.TARGET_WITH_OTHER_SECRET("one", "tpm"), changed=True)
    assert place.read_bytes() == older


@pytest.mark.guest
def test_full_disk(tpm_host, other_host):
    """Found out before swtpm starts."""
    other_host.install_guest()
    other_host.define_pool(start=False)
    other_host.virsh("pool-build", "tpm")
    other_host.run("mount", "-t", "tmpfs", "-o", "size=512k,mode=711", "tmpfs", POOL)
    other_host.virsh("pool-start", "tpm")
    tpm_host.create_volume("one")
    make_place(tpm_host, other_host)
    with contextlib.suppress(OSError), open(other_host.path(f"{POOL}/.fill"), "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    guest, _ = start_guest(tpm_host)
    try:
        is_refused(guest, other_host, messages.CANNOT_ALLOCATE_VOLUME(262336, "one", "tpm", errno=errno.ENOSPC))
        other_host.path(f"{POOL}/.fill").unlink()
        guest.migrate(other_host).wait_report("unsealed")
        other_host.virsh("destroy", "guest")
    finally:
        other_host.run("umount", POOL)


# Shared storage

def test_volume_that_both_hosts_see(host, other_host):
    """Where libvirt does not know that the storage is shared, the lock keeps the target away."""
    folder = f"/dev/shm/libvirt-sandbox.{host.name}/shared"
    for one in (host, other_host):
        one.define_pool(target=folder)
    host.create_volume("one")
    other_host.virsh("pool-refresh", "tpm")
    other_host.install_guest()
    guest = host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    said = host.virsh_fails(*guest.migration(other_host))
    assert messages.IN_USE_ELSEWHERE("one", "tpm") in said
    assert guest.state() == "running"
    host.virsh("destroy", "guest")
    host.virsh("vol-delete", "one", "--pool", "tpm")


# The first does not exist, which must not hide the second.
SHARED = f'shared_filesystems = ["/not/mounted/yet", "{POOL}/"]'


@pytest.fixture
def swtpm_keeps_its_lock(host):
    """What a swtpm that hands its lock over can do is in test_shared.py."""
    if host.swtpm_can("tpmstate-opt-lock"):
        pytest.skip("this swtpm can hand its lock over: there is nothing to refuse")


@pytest.mark.usefixtures("swtpm_keeps_its_lock")
def test_shared_file_system(tpm_host, target):
    """This swtpm cannot hand its lock over; to save the guest it need not."""
    tpm_host.create_volume("one")
    make_place(tpm_host, target)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with tpm_host.setting(SHARED):
        guest.start()
        # Also by a daemon that was not there when the guest started.
        for _ in range(2):
            said = tpm_host.virsh_fails(*guest.migration(target))
            assert messages.LOCK_NOT_HANDED_OVER("one", "tpm") in said
            tpm_host.daemon("kill", "virtqemud")
            tpm_host.daemon("start", "virtqemud")
        tpm_host.virsh("managedsave", "guest")
        tpm_host.virsh("start", "guest")
        assert guest.state() == "running"


@pytest.mark.usefixtures("swtpm_keeps_its_lock")
def test_file_system_that_is_shared_for_the_target(tpm_host, target):
    tpm_host.create_volume("one")
    make_place(tpm_host, target)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    with target.setting(SHARED):
        said = tpm_host.virsh_fails(*guest.migration(target))
        assert messages.LOCK_NOT_TAKEN_OVER("one", "tpm") in said
    assert guest.state() == "running"


@pytest.mark.guest
@pytest.mark.parametrize("harm", [
    kill_process("qemu-system-x86"),
    kill_process("swtpm"),
    kill_daemon,
    None,
], ids=["qemu", "swtpm", "virtqemud", "aborted"])
def test_broken_off(tpm_host, target, harm):
    """The volume is still blank, and takes the guest when it is migrated once more."""
    tpm_host.create_volume("one")
    place = make_place(tpm_host, target)
    guest, sealed = start_guest(tpm_host)
    with slow_migration(guest, target):
        if harm:
            harm(target)
        else:
            tpm_host.virsh("domjobabort", "guest")
    wait_for("the target is empty", lambda: target.virsh("list", "--all", "--name") == "")
    assert target.describe("one").find("tpm").get("manufacture") == "no"
    assert not place.read_bytes()[192:].strip(b"\0")
    assert not target.is_locked(target.path(f"{POOL}/one"))
    assert guest.state() == "running"
    guest.next_report()
    guest.migrate(target).wait_report(f"unsealed {sealed}")


# Disks

@pytest.fixture
def disk_guest(host, target):
    """A running guest with a disk where the target's tpm pool has its directory, and what a migration
    with a copy of the disk is given."""
    folder = host.path(POOL)
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    disk = folder / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o666)
    guest = host.define_guest(tpm=xmls.disk(disk, "raw"))
    guest.start_paused()
    return guest, ("--copy-storage-all", "--disks-uri", target.migrate_uri.replace("migration", "nbd"))


def test_no_disk_is_created_in_a_pool(disk_guest, target):
    """A disk that is to be created is no TPM that somebody has asked for."""
    guest, options = disk_guest
    before = target.contents(POOL)
    said = guest.host.virsh_fails(*guest.migration(target, *options))
    assert messages.NO_DISK_IN_TPM_POOL("disk.img", "tpm") in said
    assert target.contents(POOL) == before


@pytest.mark.parametrize("option", ["--migrateuri", "--disks-uri"])
def test_volume_is_no_socket(disk_guest, target, option):
    """It would be given to QEMU's user."""
    guest, options = disk_guest
    host = guest.host
    folder = "/var/lib/libvirt/images/other"
    host.path(folder).parent.mkdir(exist_ok=True)
    host.define_pool("other", target=folder)
    path = host.create_volume("one", "other")
    facts = host.contents(folder)
    # There it is a socket in a directory of QEMU's user, and what the disk is copied to is there.
    where = target.path(folder)
    where.mkdir(parents=True)
    where.chmod(0o777)
    place = target.path(f"{POOL}/disk.img")
    place.write_bytes(bytes(1 << 20))
    place.chmod(0o666)
    target.virsh("pool-refresh", "tpm")
    uris = {"--migrateuri": target.migrate_uri, options[1]: options[2], option: f"unix://{path}"}
    said = host.virsh_fails("migrate", "guest", target.uri, "--live", "--p2p", options[0],
                            *(word for pair in uris.items() for word in pair))
    assert messages.PATH_ONLY_FOR_TPM(path, "one", "other") in said
    assert host.contents(folder) == facts
