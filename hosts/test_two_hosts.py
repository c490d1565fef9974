"""Two hosts with a network: a guest moves from one to the other, and a pool whose directory
they share.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import xmls
from conftest import POOL
from guests import Guest, identity
from machine import SHARE
from sharedfs import CEPHFS, NFS, PLACE

# How often both hosts start the same guest at the same moment.
RACES = 10
# Where the programs of the newer swtpm look for their libraries.
SWTPM = "/usr/lib/libvirt-sandbox-swtpm"
# How many volumes are a large pool, and how long a refresh of it may take, in seconds, on a
# host that is emulated.
MANY = 10000
REFRESH_SECONDS = 600

CA = """
set -e
mkdir -p /etc/pki/CA /etc/pki/libvirt/private /root/pki
cd /root/pki
certtool --generate-privkey --outfile ca.key
dates='activation_date = "2020-01-01 00:00:00 UTC"\nexpiration_date = "2099-01-01 00:00:00 UTC"'
printf '%s\\n' 'cn = CA' ca cert_signing_key "$dates" > ca.info
certtool --generate-self-signed --load-privkey ca.key --template ca.info --outfile ca.pem
for host in host1 host2; do
    printf '%s\\n' "cn = $host" "dns_name = $host" tls_www_client tls_www_server encryption_key signing_key "$dates" \\
        > info
    certtool --generate-privkey --outfile $host.key
    certtool --generate-certificate --load-privkey $host.key --load-ca-certificate ca.pem \\
        --load-ca-privkey ca.key --template info --outfile $host.pem
done
tar -c ca.pem host1.key host1.pem host2.key host2.pem | base64 -w 0
"""

TRUST = """
set -e
mkdir -p /etc/pki/CA /etc/pki/libvirt/private /root/pki
cd /root/pki
base64 -d | tar -x
cp ca.pem /etc/pki/CA/cacert.pem
for side in client server; do
    cp $(hostname).pem /etc/pki/libvirt/${side}cert.pem
    cp $(hostname).key /etc/pki/libvirt/private/${side}key.pem
done
systemctl stop libvirtd
systemctl start libvirtd-tls.socket libvirtd
"""


@pytest.fixture
def trusting(pair):
    """Hosts whose daemons reach each other by TLS, as the documentation of libvirt has it."""
    keys = pair[0].run(CA, check=True).stdout
    for host in pair:
        host.run(TRUST, check=True, data=keys.encode())
    return pair


@pytest.fixture(params=[NFS, CEPHFS], ids=str)
def filesystem(request):
    return request.param


def only(*filesystems):
    return pytest.mark.parametrize("filesystem", filesystems, ids=str, indirect=True)


@pytest.fixture
def sharing(filesystem, pair):
    """Hosts with a tpm pool whose directory is on the first, and mounted by both."""
    one, other = pair
    mount = filesystem.serve(one)
    for host in pair:
        host.run(f"mkdir -p -m 711 {PLACE} && {mount} && {POOL}", check=True)
    one.run("virsh vol-create-as tpm guest1 1M", check=True)
    other.run("virsh pool-refresh tpm", check=True)
    return pair


def migrate(guest, target):
    """Live, by TLS; the console of the guest begins anew there."""
    name = target.run("hostname", check=True).stdout.strip()
    target.run(f"rm -f {guest.console}", check=True)
    return guest.host.run(f"virsh migrate --live --p2p --persistent --undefinesource guest1 qemu+tls://{name}/system",
                          timeout=900)


def travel(guest, *targets):
    """Migrate a guest from host to host; on each it unseals what it has sealed first."""
    sealed = guest.watch()
    for target in targets:
        moved = migrate(guest, target)
        assert moved.returncode == 0, moved.stderr
        guest = guest.on(target)
        assert guest.report("unsealed") == sealed


def test_migration_between_pools(trusting):
    """Each host has a pool of its own: the TPM goes along, and back."""
    one, other = trusting
    for host in trusting:
        host.run(POOL, check=True)
    one.run("virsh vol-create-as tpm guest1 1M", check=True)
    place = xmls.volume("guest1", tpm=f"<tpm manufacture='no'><uuid>{identity(one, 'guest1')}</uuid></tpm>")
    other.run("virsh vol-create tpm /dev/stdin", check=True, data=place.encode())
    travel(Guest(one, "guest1"), other, one)


def test_one_volume_one_guest(sharing):
    """What one host uses the other neither starts, deletes nor overwrites, and it says where
    the user is."""
    one, other = sharing
    Guest(one, "guest1").start()
    guest = Guest(other, "guest1")
    guest.define()
    for deed in ("start guest1", "vol-delete --pool tpm guest1", "vol-wipe --pool tpm guest1"):
        refused = other.run(f"virsh {deed}")
        assert refused.returncode != 0
        assert "in use" in refused.stderr and "another host" in refused.stderr, refused.stderr
    Guest(one, "guest1").destroy()
    guest.start()


def test_two_starts_at_the_same_moment(sharing):
    guests = [Guest(host, "guest1") for host in sharing]
    for guest in guests:
        guest.define()
    for _ in range(RACES):
        with ThreadPoolExecutor() as threads:
            results = list(threads.map(lambda guest: guest.host.run("virsh start --paused guest1"), guests))
        started = [guest for guest, result in zip(guests, results) if result.returncode == 0]
        assert len(started) == 1, [result.stderr for result in results]
        started[0].destroy()


def test_live_migration_with_a_newer_swtpm(trusting, sharing):
    """There is only the one volume, and its lock is handed over, there and back."""
    one, other = sharing
    for host in sharing:
        host.run(f"cp -r {SHARE}/swtpm {SWTPM} && cp {SWTPM}/bin/* /usr/bin/ && systemctl restart libvirtd", check=True)
    travel(Guest(one, "guest1"), other, one)


@only(NFS)
def test_live_migration_with_an_older_swtpm(trusting, sharing):
    """swtpm 0.7.1 cannot hand over its lock: the guest stays where it is."""
    one, other = sharing
    guest = Guest(one, "guest1")
    sealed = guest.watch()
    refused = migrate(guest, other)
    assert refused.returncode != 0
    assert "'tpmstate-opt-lock'" in refused.stderr
    assert guest.next_report("unsealed") == sealed


def test_server_away_for_a_while(filesystem, sharing):
    """A guest that writes waits for its server, and goes on; nobody else gets the volume."""
    one, other = sharing
    Guest(one, "guest1").define()
    guest = Guest(other, "guest1")
    guest.start("nvcount")
    guest.report("nv")
    for away, back in filesystem.away:
        one.run(away, check=True)
        time.sleep(30)
        one.run(back, check=True)
        count = int(guest.next_report("nv"))
        assert int(guest.next_report("nv")) > count
        refused = one.run("virsh start guest1")
        assert refused.returncode != 0 and "in use" in refused.stderr


def test_host_that_is_cut_off(sharing, tell):
    """Another host gets the volume once the file system has given the first one up; what that
    writes when it is back does not get there."""
    one, other = sharing
    lost = Guest(other, "guest1")
    lost.start("nvcount")
    count = int(lost.report("nv"))
    other.run("ip link set eth0 down", check=True)
    guest = Guest(one, "guest1")
    guest.define("nvread,idle")
    begin = time.monotonic()
    one.wait_until("virsh start guest1", 900)
    tell(f"the other host has the volume after {time.monotonic() - begin:.0f} s")
    count = int(guest.report("nv-value"))
    guest.destroy()
    kept = one.run(f"sha256sum < {PLACE}/guest1", check=True).stdout
    assert count >= int(lost.reports()[1].split()[1])
    other.run("ip link set eth0 up", check=True)
    time.sleep(30)
    said = lost.reports()
    time.sleep(10)
    assert lost.reports() == said
    assert one.run(f"sha256sum < {PLACE}/guest1", check=True).stdout == kept


@only(CEPHFS)
def test_refresh_of_many(sharing, tell):
    """What a pool of many volumes costs to look through, for the first time and again."""
    one, other = sharing
    one.run(f"cd {PLACE} && python3 -c 'import os; [os.link(\"guest1\" + end, f\"v{{n}}\" + end) "
            f"for n in range({MANY}) for end in (\".tpm.xml\", \"\")]'", check=True, timeout=1800)
    for name in "first", "again":
        begin = time.monotonic()
        other.run("virsh pool-refresh tpm", check=True, timeout=1800)
        seconds = time.monotonic() - begin
        tell(f"refresh of {MANY} volumes, {name}: {seconds / MANY * 1000:.1f} ms each")
        assert seconds < REFRESH_SECONDS
    assert int(other.run("virsh -q vol-list tpm | wc -l", check=True).stdout) == MANY + 1


@only(NFS)
def test_root_without_rights(sharing):
    """An export that has root squashed: the error says what is missing, and where."""
    one, other = sharing
    other.run("virsh pool-destroy tpm", check=True)
    one.run("sed -i s/no_root_squash/root_squash/ /etc/exports && exportfs -ra", check=True)
    started = other.run("virsh pool-start tpm")
    guest = Guest(other, "guest1")
    guest.define()
    refused = other.run("virsh start guest1") if started.returncode == 0 else started
    assert refused.returncode != 0
    assert PLACE in refused.stderr and "ermission denied" in refused.stderr, refused.stderr
