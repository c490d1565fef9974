"""The ground that the other tests stand on: the sandbox, its daemons and the guest."""

import re

import pytest


def test_daemons_answer(host):
    assert re.search(r"Using library: libvirt 11\.", host.virsh("version"))
    assert host.virsh("pool-list", "--all") == ""
    assert host.virsh("secret-list") == ""


def test_distribution_client_answers(host):
    done = host.run("/usr/bin/virsh", "-c", "qemu:///system", "pool-list", "--all")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["virtsecretd", "virtstoraged", "virtqemud"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_daemon_comes_back(host, name, end):
    host.daemon(end, name)
    uri = {"virtsecretd": "secret", "virtstoraged": "storage", "virtqemud": "qemu"}[name]
    assert "socket" in host.virsh_fails("-c", f"{uri}:///system", "uri")
    host.daemon("start", name)
    assert host.virsh("-c", f"{uri}:///system", "uri") == f"{uri}:///system"


def test_contents_tells_changes(host):
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    path = host.path(host.create_volume("one", "plain", capacity=4096))
    before = host.contents("/var/lib/libvirt/images")
    assert list(before) == [str(path)]
    host.virsh("pool-refresh", "plain")
    assert host.contents("/var/lib/libvirt/images") == before
    path.write_bytes(b"x" * 4096)
    assert host.contents("/var/lib/libvirt/images") != before


def test_secret_has_its_value(host):
    secret = host.define_secret("open sesame", usage="door")
    assert secret in host.virsh("secret-list")
    assert "open" not in host.virsh_fails("secret-get-value", secret)


@pytest.mark.guest
def test_guest_keeps_secret_in_its_tpm(host):
    guest = host.define_guest()
    sealed = guest.boot("info,seal")
    assert sealed["tpm"].startswith("2")
    assert re.fullmatch("[0-9a-f]{32}", sealed["sealed"])
    assert guest.boot("unseal")["unsealed"] == sealed["sealed"]


@pytest.mark.guest
def test_guest_notices_another_tpm(host):
    guest = host.define_guest()
    guest.boot("seal")
    host.virsh("undefine", "guest", "--tpm")
    guest.start("unseal")
    guest.wait_report("FAILED unseal")


@pytest.mark.guest
def test_guest_migrates(host, other_host):
    guest = host.define_guest()
    other_host.install_guest()
    guest.start("seal,idle")
    sealed = guest.wait_report("sealed").split()[1]
    moved = guest.migrate(other_host)
    assert guest.state() == "shut off"
    assert moved.state() == "running"
    other_host.virsh("destroy", "guest")
    assert moved.boot("unseal")["unsealed"] == sealed
