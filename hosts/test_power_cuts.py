"""The power of a host fails while volumes are changed: each is as it was or as it was to
become, and opens; nothing else is left.
"""

import hashlib
import random
import subprocess

from guests import Guest
from machine import SHARE
from writelog import WriteLog

CUTS = 50
SIZE = 96 << 20
# How many changes are made meanwhile.
CHANGES = 150
PLACE = "/var/lib/libvirt/tpm"
# What is not to change beside the volumes that churn.py changes.
GUEST = "guest1"
BLANK = hashlib.sha256(b"").hexdigest()


def expected(log):
    """The digests that each volume may have, as the log says; "new" is any."""
    allowed = {}
    for line in log.splitlines():
        what, name, state = line.split()
        allowed[name] = {state} if what == "done" else allowed.get(name, {"none"}) | {state}
    return allowed


def states(host):
    """The digest of each volume, "none" for those that are not there."""
    names = host.run("virsh -q vol-list tpm | awk '{ print $1 }'", check=True).stdout.split()
    found = {}
    for name in names:
        found[name] = host.run(f"virsh vol-download --pool tpm {name} /tmp/state > /dev/null && "
                               "sha256sum < /tmp/state", check=True).stdout.split()[0]
    return found


def check(host, image, name):
    """What a cut has left on a disk, seen by the daemon of a host that starts."""
    device = host.plug(name, image)
    host.run(f"mount {device} {PLACE} && virsh pool-start tpm", check=True)
    allowed = expected(host.run(f"cat {PLACE}/.log").stdout)
    found = states(host)
    for volume, may_be in allowed.items():
        state = found.get(volume, "none")
        assert state in may_be or ("new" in may_be and state not in ("none", BLANK)), (volume, state, may_be)
    assert set(found) <= set(allowed) | {GUEST}
    assert GUEST in found
    whole = [volume for volume, state in found.items() if state != BLANK]
    host.run(f"virt-tpm-volume check {' '.join(whole)}", check=True)
    left = set(host.run(f"ls -A {PLACE}", check=True).stdout.split())
    assert left <= {".log", "lost+found"} | {*allowed, GUEST} | {f"{volume}.tpm.xml" for volume in {*allowed, GUEST}}
    host.run(f"virsh pool-destroy tpm && umount {PLACE}", check=True)
    host.unplug(name)


def test_power_cuts(installed, tmp_path):
    """While one program changes volumes and a guest writes to its TPM, all that reaches the
    disk is logged; from that it is made what many power cuts would have left."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    subprocess.run(["truncate", "-s", str(SIZE), disk], check=True)
    device = installed.plug("data", disk, log)
    installed.run(f"mkfs.ext4 -q {device} && virsh pool-destroy tpm && mount {device} {PLACE} && chmod 711 {PLACE} && "
                  f"virsh pool-start tpm && virsh vol-create-as tpm {GUEST} 1M && cp {SHARE}/hosts/churn.py /root",
                  check=True)
    guest = Guest(installed, GUEST)
    guest.start("nvwrite")
    guest.report("nv")
    installed.run("sync", check=True)
    first = len(WriteLog(log).requests)
    installed.run(f"systemd-run --unit=churn /usr/bin/python3 /root/churn.py {PLACE}/.log 1", check=True)
    installed.wait_until(f"[ $(grep -c done {PLACE}/.log) -gt {CHANGES} ] || ! systemctl is-active -q churn", 1800)
    installed.run("systemctl is-active churn && systemctl stop churn", check=True)
    guest.destroy()
    installed.run(f"virsh pool-destroy tpm && umount {PLACE}", check=True)
    installed.unplug("data")
    writes = WriteLog(log)
    for number, cut in enumerate(sorted(random.Random(1).sample(range(first, len(writes.requests)), CUTS))):
        image = tmp_path / f"cut{number}"
        image.write_bytes(writes.cut(cut, number, SIZE))
        check(installed, image, f"cut{number}")
        image.unlink()


def test_host_without_power_starts_again(installed):
    """The same with all of the host: it boots, and its guest unseals what it had sealed."""
    guest = Guest(installed, GUEST)
    installed.run(f"virsh vol-create-as tpm {GUEST} 1M", check=True)
    sealed = guest.watch()
    installed.kill()
    installed.start()
    installed.boot()
    guest.change("unseal,idle")
    installed.run(f"virsh start {GUEST}", check=True)
    assert guest.report("unsealed") == sealed
