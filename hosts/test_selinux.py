"""Labels of SELinux. The distribution's policy has no rules for swtpm, so it is not enforced:
what is tested is that labels are set and restored, which a policy then enforces.
"""

import pytest

from conftest import POOL, booted, cloned, install
from guests import Guest

VOLUME = "/var/lib/libvirt/tpm/{}"


@pytest.fixture(scope="module")
def labelling(suite, share):
    """A host with SELinux and this project's packages, saved."""
    with booted(f"{suite} selinux", share) as host:
        install(host)
        host.run(POOL, check=True)
        host.save()
        yield host


@pytest.fixture
def selinux(labelling):
    with cloned(labelling, "selinux") as host:
        yield host


def label(host, path):
    return host.run(f"stat -c %C {path}", check=True).stdout.strip()


def confinement(host, guest):
    """Types and categories of a guest's QEMU, its swtpm and its volume."""
    processes = [host.run(f"tr -d '\\0' < /proc/{pid}/attr/current", check=True).stdout for pid in guest.pids()]
    found = [text.strip().split(":", 3)[2:] for text in (*processes, label(host, VOLUME.format(guest.name)))]
    return [kind for kind, _ in found], {level for _, level in found}


def test_labels(selinux):
    """Of each guest its own, while it runs."""
    levels = []
    for guest in (Guest(selinux, "one"), Guest(selinux, "two")):
        selinux.run(f"virsh vol-create-as tpm {guest.name} 1M", check=True)
        before = label(selinux, VOLUME.format(guest.name))
        guest.start()
        kinds, level = confinement(selinux, guest)
        assert set(kinds[:2]) <= {"svirt_t", "svirt_tcg_t"} and kinds[2] == "svirt_image_t"
        assert len(level) == 1
        levels += level
    assert levels[0] != levels[1]
    guest.destroy()
    assert label(selinux, VOLUME.format("two")) == before
    assert confinement(selinux, Guest(selinux, "one"))[1] == {levels[0]}


def test_failed_start_beside_a_running_guest(selinux):
    """A second guest on the volume neither starts nor takes the label away."""
    selinux.run("virsh vol-create-as tpm one 1M", check=True)
    Guest(selinux, "one").start()
    before = label(selinux, VOLUME.format("one"))
    other = Guest(selinux, "other", Guest(selinux, "one").tpm)
    other.define()
    refused = selinux.run("virsh start other")
    assert refused.returncode != 0 and "in use" in refused.stderr
    assert label(selinux, VOLUME.format("one")) == before
