"""The packages on a host as a user has it: apt replaces what is there, systemd starts the
daemon, and guests go on meanwhile.
"""

import pytest

import xmls
from conftest import INSTALL, POOL
from guests import Guest, define_secret
from machine import SHARE

# Whatever is removed, this stays.
KEPT = "sha256sum /var/lib/libvirt/tpm/*.tpm.xml /etc/libvirt/storage/tpm.xml /etc/libvirt/qemu/guest1.xml"


def version(host):
    return host.run("dpkg-query -W -f '${Version}' libvirt0", check=True).stdout


def test_installation_beside_a_running_guest(host):
    """The guest goes on, and what libvirt has made as its TPM becomes a volume."""
    guest = Guest(host, "guest1", xmls.tpm_emulator())
    sealed = guest.watch()
    pids = guest.pids()
    told = host.run(f"{INSTALL} --from {SHARE}/packages", check=True, timeout=1200)
    assert "libvirt-daemon-driver-storage-tpm: " in told.stdout
    assert guest.pids() == pids
    assert guest.next_report("unsealed") == sealed
    guest.destroy()
    host.run(f"{POOL} && virt-tpm-volume adopt guest1", check=True)
    guest.change("unseal,idle")
    host.run("virsh start guest1", check=True)
    assert guest.report("unsealed") == sealed
    assert "<storage pool='tpm' volume='guest1'/>" in host.run("virsh dumpxml guest1", check=True).stdout
    assert host.run("systemctl --failed --quiet").stdout == ""


def test_nothing_is_changed_before_it_is_agreed_to(host):
    """Neither by an answer, nor where it cannot be done, nor where somebody ends it."""
    def state():
        return host.run("find /etc/apt /var/lib/libvirt-tpm-packages /var/lib/apt/lists -type f | sort; "
                        "apt-mark showauto; dpkg-query -W").stdout
    before = state()
    install = INSTALL.replace(" --yes", "")
    bad = f"rm -rf /tmp/bad && cp -r {SHARE}/packages /tmp/bad && cd /tmp/bad && set -- libvirt0_*.deb &&"
    from_bad = f"{INSTALL} --from /tmp/bad"
    for command, why in ((f"echo n | {install} --from {SHARE}/packages", "nothing was changed"),
                         (f"{install} --from {SHARE}/guest", "has no packages"),
                         (f"{install} --remove", "nothing of this project is installed"),
                         (f"{install} --key {SHARE}/scripts/install --from {SHARE}/packages", "is not signed"),
                         (f"{bad} ln -sf {SHARE}/packages/$1 $1 && {from_bad}", "is not a plain file"),
                         (f"{bad} rm $1 && mkfifo $1 && {from_bad}", "is not a plain file"),
                         (f"{bad} echo >> $1 && {from_bad}", "are not what its Packages says"),
                         (f"apt-mark hold libvirt0 && {install} --yes --from {SHARE}/packages", "apt cannot do that")):
        refused = host.run(command)
        assert refused.returncode != 0 and why in refused.stderr, refused.stdout + refused.stderr
    host.run("apt-mark unhold libvirt0", check=True)
    assert state() == before


def test_upgrade_and_the_way_back(installed):
    """Each time apt replaces the packages a guest on a volume goes on. The distribution's
    libvirt lists neither the guest nor the pool; ours does so again."""
    guest = Guest(installed, "guest1")
    installed.run("virsh vol-create-as tpm guest1 1M", check=True)
    sealed = guest.watch()
    pids = guest.pids()
    kept = installed.run(KEPT, check=True).stdout
    built = version(installed)

    installed.run(f"{INSTALL} --from {SHARE}/newer", check=True, timeout=1200)
    assert version(installed) == built + ".1"
    assert installed.run("virsh -q list --name", check=True).stdout.split() == ["guest1"]

    # Without what apt knows of the distribution there is no way back, and nothing is removed.
    lists = "/var/lib/apt/lists"
    refused = installed.run(f"mv {lists} {lists}.kept; mkdir {lists}; {INSTALL} --remove; e=$?; "
                            f"rm -rf {lists}; mv {lists}.kept {lists}; exit $e")
    assert refused.returncode != 0 and "run apt-get update" in refused.stderr, refused.stderr
    assert version(installed) == built + ".1"

    told = installed.run(f"{INSTALL} --remove", check=True, timeout=1200)
    assert "lists no tpm pool" in told.stderr
    assert "nothing shuts them down with the host: guest1" in told.stderr
    assert built.startswith(version(installed) + "+custom.tpm")
    assert installed.run("find /etc/apt/sources.list.d /var/lib/libvirt-tpm-packages -type f").stdout == ""
    assert "guest1" not in installed.run("virsh -q list --all", check=True).stdout
    assert "tpm" not in installed.run("virsh -q pool-list --all", check=True).stdout
    assert guest.pids() == pids

    installed.run(f"{INSTALL} --from {SHARE}/packages", check=True, timeout=1200)
    assert version(installed) == built
    assert installed.run("virsh -q list --name", check=True).stdout.split() == ["guest1"]
    assert guest.pids() == pids
    assert guest.next_report("unsealed") == sealed
    assert installed.run(KEPT, check=True).stdout == kept
    guest.destroy()
    guest.start("unseal,idle")
    assert guest.report("unsealed") == sealed


def test_purge(installed):
    """Also when all that apt knows of libvirt is removed, the TPMs and what they need stay."""
    define_secret(installed)
    installed.run("virsh vol-create tpm /dev/stdin", check=True,
                  data=xmls.volume("guest1", encryption="vtpm", usage="key").encode())
    files = "find /var/lib/libvirt/tpm /etc/libvirt/storage /etc/libvirt/secrets -type f -exec sha256sum {} +"
    before = sorted(installed.run(files, check=True).stdout.splitlines())
    assert len(before) == 5, before
    installed.run("DEBIAN_FRONTEND=noninteractive apt-get purge -y '^libvirt'", check=True, timeout=1200)
    assert installed.run("command -v virsh").returncode != 0
    assert set(installed.run(files, check=True).stdout.splitlines()) >= set(before)
    installed.run(f"{INSTALL} --from {SHARE}/packages", check=True, timeout=1200)
    installed.run("virsh pool-start tpm; virt-tpm-volume check guest1", check=True)


@pytest.mark.quick
def test_restart_of_the_host(installed):
    """A pool and a guest that start with the host: the guest unseals what it has sealed."""
    guest = Guest(installed, "guest1")
    installed.run("virsh vol-create-as tpm guest1 1M", check=True)
    guest.start("seal")
    sealed = guest.report("sealed")
    guest.wait_off()
    guest.change("unseal,idle")
    installed.run("virsh autostart guest1", check=True)
    installed.reboot()
    assert guest.report("unsealed") == sealed
    assert installed.run("systemctl --failed --quiet").stdout == ""
