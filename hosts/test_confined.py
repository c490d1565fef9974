"""What AppArmor allows a guest of its own, and what it denies it. That nothing else is
denied is asserted at the end of each test in this folder.
"""

import pytest

import xmls
from conftest import POOL_STARTED
from guests import Guest, define_secret, identity

# As one of the processes of a guest that was taken over: root, so that only AppArmor is in
# the way. Prints the name of the error for each file, or "opened".
INTRUDER = """
import errno, os, sys
open("/proc/self/attr/current", "w").write("changeprofile " + sys.argv[1])
for path in sys.argv[2:]:
    try:
        os.close(os.open(path, os.O_RDWR))
        print("opened")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def open_as(host, guest, *paths):
    """What a process of a guest gets when it opens these."""
    paths = " ".join(f"'{path}'" for path in paths)
    return host.run(f"python3 - libvirt-{guest.uuid} {paths}", check=True, data=INTRUDER.encode()).stdout.split()


def move_pool(host, target):
    """The pool in another directory, with a volume "guest1"."""
    host.run("virsh pool-destroy tpm && virsh pool-undefine tpm && "
             f"virsh pool-define-as tpm tpm --target {target} && {POOL_STARTED} && "
             "virsh vol-create-as tpm guest1 1M", check=True)


def test_profiles_are_enforced(installed):
    enforced = installed.run("aa-status", check=True).stdout.split("profiles are in complain mode")[0].split()
    assert {"libvirtd", "virt-aa-helper"} <= set(enforced)


def test_guest_reaches_its_own_tpm_only(installed):
    """Its volume and the lock of its TPM's identity: not those of others, nor a description."""
    guests = [Guest(installed, name) for name in ("one", "two")]
    locks = []
    for guest in guests:
        installed.run(f"virsh vol-create-as tpm {guest.name} 1M", check=True)
        guest.start()
        locks.append(f"/run/libvirt/tpm-identity/{identity(installed, guest.name)}.lock")
    installed.run(f"ls {locks[0]} {locks[1]}", check=True)
    pool = "/var/lib/libvirt/tpm"
    assert open_as(installed, guests[0], f"{pool}/one", locks[0]) == ["opened", "opened"]
    assert installed.denied() == []
    assert open_as(installed, guests[0], f"{pool}/two", locks[1], f"{pool}/one.tpm.xml", f"{pool}/two.tpm.xml",
                   "/etc/shadow", "/var/lib/swtpm-localca/signkey.pem") == ["EACCES"] * 6
    assert len(installed.denied()) == 6
    installed.forget_denied()


@pytest.mark.parametrize("prepare, target", [
    ("true", "/srv/tpm"),
    ("mkdir -m 711 /data && ln -s /data /srv/link", "/srv/link"),
    ("mkdir -m 711 /data && mkdir /var/lib/libvirt/tpms && mount --bind /data /var/lib/libvirt/tpms",
     "/var/lib/libvirt/tpms"),
], ids=["elsewhere", "behind a link", "behind a mount"])
def test_pool_at_another_place(installed, prepare, target):
    installed.run(prepare, check=True)
    move_pool(installed, target)
    Guest(installed, "guest1").start()


def test_pool_where_swtpm_cannot_enter(installed):
    """The error names the directory."""
    installed.run("mkdir -m 700 /srv/closed", check=True)
    move_pool(installed, "/srv/closed/tpm")
    guest = Guest(installed, "guest1")
    guest.define()
    refused = installed.run("virsh start guest1")
    assert refused.returncode != 0
    assert "cannot search directory '/srv/closed'" in refused.stderr


def test_operations(installed):
    """Whatever can be done with a volume and with its guest, under AppArmor."""
    def do(*commands, data=""):
        installed.run(" && ".join(commands), check=True, data=data.encode())

    define_secret(installed)
    do("virsh vol-create tpm /dev/stdin", data=xmls.volume("guest1", encryption="vtpm", usage="key"))
    do("virsh vol-dumpxml --pool tpm guest1 --inspect", "virt-tpm-volume check guest1",
       "virsh vol-clone --pool tpm guest1 copy", "virsh vol-download --pool tpm guest1 /tmp/state")
    do("virsh vol-create tpm /dev/stdin", data=xmls.volume("blank", encryption="vtpm", usage="key", tpm=xmls.BLANK))
    do("virsh vol-upload --pool tpm blank /tmp/state", "virt-tpm-volume check blank")
    do("virsh vol-create-from tpm /dev/stdin guest1 --inputpool tpm", data=xmls.volume("clear"))
    do("virsh vol-wipe --pool tpm clear", "virsh vol-delete --pool tpm clear", "virsh vol-delete --pool tpm blank",
       "virsh vol-delete --pool tpm copy", "virsh pool-refresh tpm")
    guest = Guest(installed, "guest1")
    sealed = guest.watch()
    do("virsh vol-download --pool tpm guest1 /tmp/state", "virsh managedsave guest1", "virsh start guest1")
    assert guest.next_report("unsealed") == sealed
    do("systemctl restart libvirtd", "virsh save guest1 /tmp/saved", "virsh restore /tmp/saved")
    assert guest.next_report("unsealed") == sealed
    guest.destroy()
    do("virsh undefine guest1 --tpm", "virsh vol-info --pool tpm guest1")

    old = Guest(installed, "old", xmls.tpm_emulator())
    old.start()
    old.destroy()
    do("virt-tpm-volume adopt old", "virsh start old", "virt-tpm-volume list")
