"""File systems that two hosts share, as an administrator sets them up: the first host serves,
and both mount."""

from dataclasses import dataclass
from typing import Callable

PLACE = "/var/lib/libvirt/tpm"


@dataclass
class SharedFS:
    """`serve` starts it on a host and returns the command that mounts it at PLACE; `away` has
    commands for that host that make it unreachable, each with the one that brings it back."""

    name: str
    serve: Callable
    away: tuple

    def __str__(self):
        return self.name


def serve_nfs(host):
    """The kernel's server."""
    host.run("mkdir -p -m 711 /srv/tpm && echo '/srv/tpm *(rw,sync,no_root_squash,no_subtree_check)' > /etc/exports && "
             "systemctl start nfs-server", check=True)
    return f"mount -t nfs4 -o vers=4.2 host1:/srv/tpm {PLACE}"


# A cluster of one node, without a manager, which costs more than all the rest. Prints the
# key of its administrator.
CEPH = """
set -e
exec 3>&1 1>&2
fsid=$(cat /proc/sys/kernel/random/uuid)
cat > /etc/ceph/ceph.conf <<END
[global]
fsid = $fsid
mon initial members = a
mon host = 10.9.0.1
mon allow pool size one = true
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd memory target = 939524096
bluestore block size = 4294967296
END
mkdir -p /var/lib/ceph/mon/ceph-a /var/lib/ceph/osd/ceph-0 /var/lib/ceph/mds/ceph-a
admin=/etc/ceph/ceph.client.admin.keyring
ceph-authtool -C $admin --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *'
ceph-authtool -C /root/mon.keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool /root/mon.keyring --import-keyring $admin
monmaptool --create --fsid $fsid --addv a '[v2:10.9.0.1:3300,v1:10.9.0.1:6789]' /root/monmap
ceph-mon --mkfs -i a --monmap /root/monmap --keyring /root/mon.keyring
chown -R ceph: /var/lib/ceph
systemctl start ceph-mon@a
ceph auth get-or-create osd.0 mon 'profile osd' osd 'allow *' -o /var/lib/ceph/osd/ceph-0/keyring
ceph auth get-or-create mds.a mon 'profile mds' mds 'allow *' osd 'allow *' -o /var/lib/ceph/mds/ceph-a/keyring
osd=$(cat /proc/sys/kernel/random/uuid)
ceph osd new $osd 0
ceph-osd -i 0 --mkfs --osd-uuid $osd
chown -R ceph: /var/lib/ceph
systemctl start ceph-osd@0 ceph-mds@a
ceph osd pool create metadata 8
ceph osd pool create data 8
ceph fs new fs metadata data
for i in $(seq 300); do
    if ceph mds stat | grep -q up:active; then
        ceph-authtool -p $admin >&3
        exit
    fi
    sleep 0.5
done
exit 1
"""


def serve_ceph(host):
    """CephFS, mounted by the kernel's client."""
    key = host.run(CEPH, check=True, timeout=900).stdout.strip()
    return f"mount -i -t ceph 10.9.0.1:/ {PLACE} -o name=admin,secret={key}"


NFS = SharedFS("nfs", serve_nfs, (("ip link set eth0 down", "ip link set eth0 up"),
                                  ("systemctl stop nfs-server", "systemctl start nfs-server")))
CEPHFS = SharedFS("cephfs", serve_ceph, (("systemctl stop ceph-mds@a", "systemctl start ceph-mds@a"),
                                         ("systemctl stop ceph-osd@0", "systemctl start ceph-osd@0")))
