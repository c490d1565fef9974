"""Pools of type tpm, as a user of virsh sees them."""

import shutil
import stat
import xml.etree.ElementTree as etree

import pytest

import xmls
from host import POOL, TOP



def test_life(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool())
    text = host.virsh("pool-dumpxml", "tpm")
    host.validate(text, "storagepool")
    described = etree.fromstring(text)
    assert described.get("type") == "tpm"
    assert described.findtext("target/path") == POOL
    host.virsh("pool-build", "tpm")
    info = host.path(POOL).stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o711, 0, 0)
    host.virsh("pool-start", "tpm")
    host.virsh("pool-autostart", "tpm")
    host.virsh("pool-refresh", "tpm")
    host.validate(host.virsh("pool-dumpxml", "tpm"), "storagepool")
    assert "running" in host.virsh("pool-info", "tpm")
    host.daemon("restart", "virtstoraged")
    assert "running" in host.virsh("pool-info", "tpm")
    host.virsh("pool-destroy", "tpm")
    host.virsh("pool-delete", "tpm")
    assert not host.path(POOL).exists()


def test_autostart(host):
    """At the first start of the daemon after the machine's."""
    host.define_pool()
    host.create_volume("one")
    host.virsh("pool-autostart", "tpm")
    host.virsh("pool-destroy", "tpm")
    host.daemon("stop", "virtstoraged")
    host.path("/run/libvirt/storage/autostarted").unlink()
    host.daemon("start", "virtstoraged")
    assert host.virsh("vol-list", "tpm").split()[0] == "one"


def test_transient_pool_with_build(host):
    host.virsh("pool-create", "/dev/stdin", "--build", input=xmls.pool("brief", target="/var/lib/libvirt/tpm"))
    host.create_volume("one", "brief")
    host.virsh("pool-destroy", "brief")
    assert "brief" not in host.virsh("pool-list", "--all")
    assert host.path(f"{POOL}/one").exists()


def test_start_names_pool_build(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool())
    message = host.virsh_fails("pool-start", "tpm")
    assert "'/var/lib/libvirt/tpm' of tpm pool 'tpm' does not exist" in message
    assert "pool-build" in message


def test_path_with_comma_is_refused(host):
    host.virsh("pool-define", "/dev/stdin", input=xmls.pool(target="/var/lib/libvirt/tpm/a,b"))
    assert "contains a comma" in host.virsh_fails("pool-build", "tpm")
    assert not host.path(POOL).exists()


def test_two_pools_on_one_directory_are_refused(host):
    host.define_pool()
    message = host.virsh_fails("pool-define", "/dev/stdin", input=xmls.pool("second"))
    assert "tpm" in message


def test_listed_by_type(host):
    host.define_pool()
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    assert host.virsh("pool-list", "--type", "tpm", "--name") == "tpm"
    assert host.virsh("pool-list", "--type", "dir", "--name") == "plain"
    assert "<pool type='tpm' supported='yes'>" in host.virsh("pool-capabilities")


def test_other_pools_refuse_tpm_volumes(host):
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    secret = host.define_secret("key", "tpm-key")
    message = host.virsh_fails("vol-create", "plain", "/dev/stdin",
                               input=xmls.volume("one", capacity=4096, tpm="<tpm/>"))
    assert "<tpm> of volume 'one' is only for pools of type 'tpm'" in message
    message = host.virsh_fails("vol-create", "plain", "/dev/stdin",
                               input=xmls.volume("one", capacity=4096, encryption="vtpm", secret=secret))
    assert "'vtpm' of volume 'one' is only for pools of type 'tpm'" in message


def test_refresh_takes_what_is_a_volume(host):
    """One bad file never fails the pool, and nothing is followed or waited for."""
    host.define_pool()
    path = host.path(host.create_volume("good"))
    pool = path.parent
    (pool / ".hidden").write_bytes(b"x")
    (pool / "a,b").write_bytes(b"x")
    (pool / "line\nbreak").write_bytes(b"x")
    (pool / "folder").mkdir()
    (pool / "link").symlink_to(path)
    (pool / "dangling").symlink_to("/nowhere")
    host.run("mkfifo", pool / "fifo")
    (pool / "alone.tpm.xml").write_text("<volume/>")
    (pool / "foreign").write_bytes(b"x" * 1000)
    before = host.contents(POOL)
    host.virsh("pool-refresh", "tpm")
    assert host.virsh("vol-list", "tpm", "--details").count("\n") == 1
    assert {line.split()[0] for line in host.virsh("vol-list", "tpm").splitlines()} == {"good", "foreign"}
    assert host.contents(POOL) == before


def test_refresh_removes_only_forgotten_temporaries(host):
    """A temporary goes with its maker; one that is locked is being made."""
    host.define_pool()
    pool = host.path(POOL)
    forgotten = pool / ".one.Ab12Cd.tmptpm"
    forgotten.write_bytes(b"x")
    held = pool / ".two.Ab12Cd.tmptpm"
    with open(held, "wb") as file:
        host.lock(file)
        host.virsh("pool-refresh", "tpm")
        assert not forgotten.exists()
        assert held.exists()
    host.virsh("pool-refresh", "tpm")
    assert not held.exists()


@pytest.mark.parametrize("content", ["", "not XML", "<volume><name>x</name></volume>" + " " * 70000])
def test_bad_sidecar_does_no_harm(host, content):
    host.define_pool()
    path = host.path(host.create_volume("one"))
    path.with_name("one.tpm.xml").write_text(content)
    host.virsh("pool-refresh", "tpm")
    described = etree.fromstring(host.virsh("vol-dumpxml", "one", "--pool", "tpm"))
    assert described.find("tpm").get("version") == "2.0"
    assert described.find("tpm/uuid") is None
    assert "one.tpm.xml" in host.log("virtstoraged")


def test_session_of_an_unprivileged_user(host):
    """Its pool is in the user's data directory, and the user makes and copies the TPMs."""
    home = host.path("/var/lib/libvirt/home")
    daemons = TOP / "build/subprojects/libvirt/src"
    if host.run("setpriv", "--reuid=games", "--clear-groups", "test", "-x", daemons / "virtstoraged").returncode:
        pytest.skip("other users can't reach this checkout")
    script = f"""
set -e
export HOME={home} XDG_RUNTIME_DIR={home}/run LIBVIRT_DEFAULT_URI=storage:///session
{daemons}/virtsecretd --daemon
{daemons}/virtstoraged --daemon
trap 'pkill -u games virt' EXIT
virsh pool-define {home}/pool.xml
virsh pool-build tpm
virsh pool-start tpm
virsh vol-create-as tpm one 1M
virsh vol-dumpxml one tpm
virsh vol-clone one two tpm
virsh vol-download two {home}/state tpm
virsh vol-wipe two tpm
virsh vol-upload two {home}/state tpm
cmp {home}/state {home}/.local/share/libvirt/tpm/one
"""
    (home / "run").mkdir(parents=True)
    (home / "pool.xml").write_text(xmls.pool())
    host.run("chown", "-R", "games", home)
    done = host.run("setpriv", "--reuid=games", "--regid=games", "--clear-groups",
                    "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert f"<path>{home}/.local/share/libvirt/tpm/one</path>" in done.stdout
    assert (home / ".local/share/libvirt/tpm/one").owner() == "games"
    shutil.rmtree(home)


@pytest.mark.parametrize("bits", [0o2000, 0o1000, 0o4000])
def test_directory_with_a_special_mode(tpm_host, bits):
    """Set-group-ID and the like: the pool can be refreshed, used, and defined again."""
    tpm_host.create_volume("one")
    directory = tpm_host.path(POOL)
    directory.chmod(0o711 | bits)
    tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    text = tpm_host.virsh("pool-dumpxml", "tpm")
    assert f"<mode>0{0o711 | bits:o}</mode>" in text
    tpm_host.virsh("pool-define", "/dev/stdin", input=text)
    tpm_host.validate(text, "storagepool")
