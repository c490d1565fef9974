"""What swtpm may get at, and what is said where it, or libvirt, may not."""

import contextlib
import re
import xml.etree.ElementTree as etree

import pytest

import xmls
from host import IMPLICIT, POOL, TOP, wait_for

HELPER = TOP / "build/subprojects/libvirt/src/virt-aa-helper"


def apparmor_rules(host, name="guest"):
    """The files in the AppArmor profile of a running domain: {path: permissions}."""
    status = etree.fromstring(host.path(f"/run/libvirt/qemu/{name}.xml").read_text())
    domain = status.find("domain")
    done = host.run(HELPER, "--dryrun", "--replace", "--uuid", f"libvirt-{domain.findtext('uuid')}",
                    input=etree.tostring(domain, encoding="unicode"))
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r'^ *"([^"]*)" (\w+),$', done.stdout + done.stderr, re.M))


def test_apparmor_profile(tpm_host):
    """The domain's own volume, and the lock of its TPM's identity; nothing of other TPMs."""
    if not HELPER.exists():
        pytest.skip("libvirt is built without AppArmor")
    for name in ("one", "two"):
        tpm_host.create_volume(name)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    rules = apparmor_rules(tpm_host)
    lock = f"/run/libvirt/qemu/tpm-identity/{tpm_host.identity('one')}.lock"
    assert {path: rights for path, rights in rules.items() if path.startswith(POOL) or path == lock} == {
        f"{POOL}/one": "rwk", lock: "rwk"}
    assert not any(path.startswith(IMPLICIT) for path in rules)


def test_apparmor_profile_of_an_implicit_tpm(tpm_host):
    if not HELPER.exists():
        pytest.skip("libvirt is built without AppArmor")
    tpm_host.define_guest().start()
    rules = apparmor_rules(tpm_host)
    assert any(path.startswith(IMPLICIT) for path in rules)
    assert not any(path.startswith(POOL) for path in rules)


def test_owner_follows_the_account_of_swtpm(tpm_host):
    """The volume is made for the account that swtpm usually has."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    for account in ("daemon", "tss"):
        with tpm_host.setting(f'swtpm_user = "{account}"\nswtpm_group = "{account}"'):
            path.chmod(0o644)
            guest.start()
            assert path.owner() == path.group() == account
            assert path.stat().st_mode & 0o7777 == 0o600
            swtpm = tpm_host.run("pgrep", "-x", "swtpm", "-u", account).stdout
            assert swtpm
            tpm_host.virsh("destroy", "guest")
    tpm_host.opens_in_swtpm(path)


@contextlib.contextmanager
def out_of_reach_for_root(host, path):
    """As on a network file system that treats root as nobody."""
    content = host.path("/var/lib/libvirt/squashed")
    content.write_bytes(path.read_bytes().ljust(1 << 20, b"\0"))
    content.chmod(0o666)
    host.run("chown", "nobody", path)
    # Of nobody's own, where nobody else writes.
    folder = "/var/lib/libvirt/squashed.run"
    host.run("install", "-d", "-o", "nobody", "-m", "700", folder)
    done = host.run("setpriv", "--reuid", "nobody", "--clear-groups", "qemu-storage-daemon",
                    "--daemonize", "--pidfile", f"{folder}/pid",
                    "--blockdev", f"driver=file,node-name=state,filename={content}",
                    "--export", f"type=fuse,id=e,node-name=state,mountpoint={path},writable=on,allow-other=off")
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        host.run("pkill", "-F", f"{folder}/pid")
        wait_for("the mount is gone", lambda: str(path) not in host.run("cat", "/proc/mounts").stdout)


@pytest.mark.parametrize("refreshed", [True, False])
def test_volume_that_root_may_not_read(tpm_host, refreshed):
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with out_of_reach_for_root(tpm_host, path):
        if refreshed:
            tpm_host.virsh("pool-refresh", "tpm")
        said = tpm_host.virsh_fails("start", "guest")
        assert f"no permission to read and write '{POOL}/one' of TPM volume 'one' of pool 'tpm'" in said
        assert tpm_host.contents(IMPLICIT) == {}
    tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.run("chown", "root", path)
    tpm_host.virsh("start", "guest")
