"""swtpm_require_volume in qemu.conf: only TPMs that are on volumes start.

It concerns starts of all kinds, and changes no definition and no guest that runs.
"""

import uuid

import pytest

import messages
import xmls
from host import GUEST_DIR, IMAGES, IMPLICIT, TOP, wait_for
from hosts import Session

REFUSED = messages.VOLUME_REQUIRED("guest")
SAVED = f"{IMAGES}/saved"


@pytest.fixture
def policy(tpm_host):
    """Sets swtpm_require_volume on the host."""
    conf = tpm_host.path("/etc/libvirt/qemu.conf")
    before = conf.read_text()
    yield lambda value: set_policy(tpm_host, value)
    conf.write_text(before)
    # It does not start with every value.
    tpm_host.run("sandbox-daemon", "stop", "virtqemud")
    tpm_host.daemon("start", "virtqemud")


def set_policy(host, value):
    conf = host.path("/etc/libvirt/qemu.conf")
    others = [line for line in conf.read_text().splitlines() if "swtpm_require_volume" not in line]
    conf.write_text("\n".join([*others, f"swtpm_require_volume = {value}", ""]))
    host.daemon("restart", "virtqemud")


def refused(host, *args, **kwargs):
    """The guest does not start, and nothing of it is made."""
    before = host.contents(IMPLICIT, IMAGES)
    assert REFUSED in host.virsh_fails(*args, **kwargs)
    assert host.contents(IMPLICIT, IMAGES) == before


# What does not start

@pytest.mark.parametrize("source", [
    "",
    f"<source type='dir' path='{IMAGES}/state'/>",
    f"<source type='file' path='{IMAGES}/state'/>",
])
def test_without_volume(tpm_host, policy, source):
    guest = tpm_host.define_guest(tpm=xmls.tpm_emulator(inner=source))
    policy(1)
    refused(tpm_host, "start", "guest")
    tpm_host.virsh("undefine", "guest")
    refused(tpm_host, "create", "/dev/stdin", input=guest.xml())


def test_only_the_start_is_refused(tpm_host, policy):
    policy(1)
    tpm_host.define_guest()
    assert "tpm-crb" in tpm_host.virsh("domxml-to-native", "qemu-argv", "--domain", "guest")
    policy(0)
    tpm_host.virsh("start", "guest", "--paused")


def test_running_guest_stays(tpm_host, policy):
    """But it does not start again."""
    guest = tpm_host.define_guest()
    guest.start()
    policy(1)
    # It needs QEMU's answer, so that virtqemud is known to have found the guest again.
    tpm_host.virsh("suspend", "guest")
    tpm_host.virsh("destroy", "guest")
    refused(tpm_host, "start", "guest")


@pytest.mark.parametrize("save, restore", [
    (("managedsave", "guest"), ("start", "guest")),
    (("save", "guest", SAVED), ("restore", SAVED)),
])
def test_saved_image_is_kept(tpm_host, policy, save, restore):
    tpm_host.path(IMAGES).mkdir()
    guest = tpm_host.define_guest()
    guest.start()
    tpm_host.virsh(*save)
    policy(1)
    refused(tpm_host, *restore)
    policy(0)
    tpm_host.virsh(*restore)
    assert guest.state() == "running"


def test_snapshot(tpm_host, policy):
    tpm_host.path(IMAGES).mkdir()
    guest = tpm_host.define_guest()
    guest.start()
    tpm_host.virsh("snapshot-create-as", "guest", "snap", "--memspec", f"file={SAVED}")
    tpm_host.virsh("destroy", "guest")
    policy(1)
    refused(tpm_host, "snapshot-revert", "guest", "snap")


def test_snapshot_of_a_running_guest(tpm_host, policy):
    """The guest has been given a volume since, and goes on with that."""
    tpm_host.path(IMAGES).mkdir()
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest()
    guest.start()
    tpm_host.virsh("snapshot-create-as", "guest", "snap", "--memspec", f"file={SAVED}")
    tpm_host.virsh("destroy", "guest")
    guest.tpm = xmls.tpm_volume("one")
    guest.start()
    policy(1)
    pid = guest.pid("qemu")
    inactive = tpm_host.virsh("dumpxml", "guest", "--inactive")
    for force in ([], ["--force"]):
        refused(tpm_host, "snapshot-revert", "guest", "snap", *force)
        assert guest.state() == "running"
        assert guest.pid("qemu") == pid
        assert tpm_host.virsh("dumpxml", "guest", "--inactive") == inactive


def test_revert_that_starts(tpm_host, policy):
    """To a snapshot without memory, which is started after."""
    tpm_host.path(IMAGES).mkdir()
    disk = tpm_host.path(f"{IMAGES}/disk.qcow2")
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M")
    guest = tpm_host.define_guest(tpm=f"{xmls.tpm_emulator()}\n{xmls.disk(disk)}")
    tpm_host.virsh("snapshot-create-as", "guest", "snap")
    guest.start()
    policy(1)
    pid = guest.pid("qemu")
    refused(tpm_host, "snapshot-revert", "guest", "snap", "--running")
    assert guest.pid("qemu") == pid
    tpm_host.virsh("snapshot-revert", "guest", "snap")
    assert guest.state() == "shut off"


def test_incoming_migration(host, other_host):
    guest = host.define_guest()
    other_host.install_guest()
    set_policy(other_host, 1)
    guest.start()
    assert REFUSED in host.virsh_fails(*guest.migration(other_host))
    assert guest.state() == "running"
    assert not other_host.contents(IMPLICIT)


def test_session(host):
    """The setting of an unprivileged user."""
    host.install_guest()
    home = host.path(f"{IMAGES}/home")
    (home / ".config/libvirt").mkdir(parents=True)
    (home / ".config/libvirt/qemu.conf").write_text("swtpm_require_volume = 1\n")
    host.run("chown", "-R", "nobody", home)
    with Session(home) as session:
        text = xmls.domain("guest", str(uuid.uuid4()), xmls.tpm_emulator(), "idle", GUEST_DIR)
        assert REFUSED in session.virsh_fails("create", "/dev/stdin", input=text)


# What does

def test_with_volume(tpm_host, policy):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    policy(1)
    tpm_host.virsh("start", "guest", "--paused")


def test_adopted(tpm_host, policy):
    tpm_host.define_guest()
    tpm_host.virsh("start", "guest", "--paused")
    tpm_host.virsh("destroy", "guest")
    policy(1)
    refused(tpm_host, "start", "guest")
    done = tpm_host.run("/usr/bin/python3", TOP / "tools/virt-tpm-volume", "adopt", "guest")
    assert done.returncode == 0, done.stderr
    tpm_host.virsh("start", "guest", "--paused")


def test_external(tpm_host, policy, tmp_path):
    """The state of an external TPM is not libvirt's affair."""
    policy(1)
    tpm_host.define_guest(tpm="<tpm model='tpm-crb'><backend type='external'>"
                              "<source type='unix' mode='connect' path='/run/libvirt/external'/>"
                              "</backend></tpm>")
    started = tpm_host.run("swtpm", "socket", "--tpm2", "--daemon", "--terminate",
                           "--tpmstate", f"dir={tmp_path}",
                           "--ctrl", "type=unixio,path=/run/libvirt/external,mode=0666")
    assert started.returncode == 0, started.stderr
    tpm_host.virsh("start", "guest", "--paused")


def test_passthrough(tpm_host, policy):
    """It gets as far as QEMU, to which /dev/null is no TPM."""
    policy(1)
    tpm_host.define_guest(tpm="<tpm model='tpm-tis'><backend type='passthrough'>"
                              "<device path='/dev/null'/></backend></tpm>")
    assert "is not a TPM device" in tpm_host.virsh_fails("start", "guest")


# The setting

def test_invalid_value(tpm_host, policy):
    policy('"yes"')
    wait_for("virtqemud ends", lambda: tpm_host.run("pidof", "virtqemud").returncode)
    assert "expected a bool for 'swtpm_require_volume'" in tpm_host.log()
