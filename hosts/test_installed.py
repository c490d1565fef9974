"""The packages, on a host as a user has it: systemd starts the daemons, AppArmor confines
them and the guests, and apt replaces what is there.
"""

from machine import SHARE

# What scripts/demo shows, on this host's own libvirt.
DEMONSTRATE = f"{SHARE}/scripts/inside/demonstrate {SHARE}/guest"


def denied(host):
    """What AppArmor has refused so far to anything of libvirt's or to a guest."""
    log = host.run("dmesg | grep 'apparmor=\"DENIED\"'").stdout
    return [line for line in log.splitlines() if "openssl.cnf" not in line]


def test_demonstration(installed):
    """An encrypted volume, a guest that seals to it, and unseals after a restart: with
    AppArmor enforcing, and nothing denied."""
    profiles = installed.run("aa-status", check=True).stdout
    assert "libvirtd" in profiles.split("profiles are in complain mode")[0]
    told = installed.run(DEMONSTRATE, timeout=1800)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "unsealed" in told.stdout
    assert denied(installed) == []


def test_after_a_restart_of_the_host(installed):
    """Pool and volume are there after a restart of the host, and the daemons are started
    by their sockets."""
    installed.run("virsh pool-define-as tpm tpm && virsh pool-build tpm && virsh pool-start tpm && "
                  "virsh pool-autostart tpm && virsh vol-create-as tpm guest1 1M", check=True)
    before = installed.run("virsh vol-dumpxml --pool tpm guest1", check=True).stdout
    installed.shut_down()
    installed.start()
    installed.boot()
    assert installed.run("virsh vol-dumpxml --pool tpm guest1", check=True).stdout == before
    assert installed.run("systemctl is-failed --quiet '*'").returncode != 0


def test_back_to_the_distribution(installed):
    """What is removed is only the programs: volumes, secrets and definitions stay, and are
    back after the next installation."""
    installed.run("virsh pool-define-as tpm tpm && virsh pool-build tpm && virsh pool-start tpm && "
                  "virsh vol-create-as tpm guest1 1M", check=True)
    before = installed.run("sha256sum /var/lib/libvirt/tpm/* /etc/libvirt/storage/*", check=True).stdout
    told = installed.run(f"{SHARE}/scripts/install --remove --yes", check=True, timeout=1200)
    assert "lists no tpm pool" in told.stderr
    assert "tpm" not in installed.run("virsh -q pool-list --all", check=True).stdout
    assert installed.run("sha256sum /var/lib/libvirt/tpm/* /etc/libvirt/storage/*", check=True).stdout == before
    installed.run(f"{SHARE}/scripts/install --from {SHARE}/packages --yes", check=True, timeout=1200)
    installed.run("virsh pool-start tpm && virsh vol-info --pool tpm guest1", check=True)
