"""What the other tests rely on: the sandbox, its daemons and the guest.

If one of these fails, what the others say is of no use.
"""

import os
import re
import stat
from pathlib import Path

import pytest

from host import IMAGES, TOP


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


@pytest.mark.parametrize("folder", ["/etc", "/usr"])
def test_host_is_read_only(host, folder):
    """Also for root, and so for the daemons."""
    assert "Read-only file system" in host.run("touch", f"{folder}/libvirt-sandbox").stderr


def test_tmp_is_nobody_elses(host, other_host):
    """What others put there does not reach the daemons, nor what they leave there the others."""
    file = Path(f"/tmp/{host.name}")
    file.touch()
    try:
        assert other_host.run("ls", "-A", "/tmp").stdout == ""
        assert other_host.run("sh", "-c", "umask 0 && echo other > /tmp/other").returncode == 0
        assert not Path("/tmp/other").exists()
        assert stat.filemode(file.parent.stat().st_mode) == "drwxrwxrwt"
    finally:
        file.unlink()


def test_contents_tells_changes(host):
    host.define_pool("plain", "dir", IMAGES)
    path = host.path(host.create_volume("one", "plain", capacity=4096))
    before = host.contents(IMAGES)
    assert list(before) == [str(path)]
    host.virsh("pool-refresh", "plain")
    assert host.contents(IMAGES) == before
    path.write_bytes(b"x" * 4096)
    assert host.contents(IMAGES) != before


def test_secret_has_its_value(host):
    secret = host.define_secret("open sesame", usage="door")
    assert secret in host.virsh("secret-list")
    assert "open" not in host.virsh_fails("secret-get-value", secret)


def test_newer_swtpm_that_cannot_be_had(host, tmp_path):
    """It is one line that tells the reason, for the tests that are left out; nothing stays behind."""
    done = host.run("env", f"XDG_CACHE_HOME={tmp_path}", TOP / "scripts/setup", "swtpm", "--suite", "no-such-release")
    assert done.returncode == 1 and done.stdout == ""
    said = done.stderr.splitlines()[-1]
    assert re.match(r"swtpm: error: could not fetch swtpm of Debian's no-such-release: [EW]: .", said), done.stderr
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]
    done = host.run(TOP / "scripts/sandbox", "--build",
                    os.environ["LIBVIRT_SANDBOX_BUILD"], "--swtpm", tmp_path, "--", "true")
    assert done.returncode == 1 and f"there is no bin/swtpm in {tmp_path}" in done.stderr


@pytest.mark.newer_swtpm
def test_newer_swtpm_is_that_of_the_sandbox(host, other_host):
    """Under the names of the machine's, for all who may run it, and on all hosts."""
    for one in (host, other_host):
        for user in ("root", "tss"):
            for program in ("swtpm", "swtpm_setup"):
                done = one.run("setpriv", "--reuid", user, "--clear-groups", program, "--version")
                version = re.search(r"version (\d+)\.(\d+)", done.stdout)
                assert version and tuple(map(int, version.groups())) >= (0, 10), done.stdout + done.stderr


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
