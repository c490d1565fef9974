"""Two hosts that share the directory of a tpm pool, with a swtpm that hands its lock over.

One of the two holds the lock, and at each moment nobody else gets the volume.
"""

import contextlib
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

import messages
import xmls
from expected import error
from host import POOL, wait_for
from migrating import kill_daemon, kill_process, slow_migration, start_guest

pytestmark = pytest.mark.newer_swtpm

# How often a guest goes there and back whose state grows.
TRIPS = 3
SECRET = "6f1f2f0e-9d5b-4f0e-8a4e-6c1d2b3a4f50"
# What either host says of the volume, whoever uses it.
IN_USE = error("VIR_ERR_RESOURCE_BUSY", "TPM volume 'one' of pool 'tpm'")


@contextlib.contextmanager
def one_pool(host, other_host, folder):
    """Both hosts have a pool of that name, in that folder."""
    for one in (host, other_host):
        one.install_guest()
        one.define_pool(target=folder)
    yield Path(folder)
    for one in (host, other_host):
        one.run("virsh", "destroy", "guest")


@pytest.fixture
def folder(host, other_host):
    """The directory that both hosts have in common, which qemu.conf calls shared."""
    path = f"/dev/shm/libvirt-sandbox.{host.name}/shared"
    with contextlib.ExitStack() as stack:
        # The daemons are told of it before it exists, as of what is mounted later.
        assert not Path(path).exists()
        for one in (host, other_host):
            stack.enter_context(one.setting(f'shared_filesystems = ["{path}"]'))
        yield stack.enter_context(one_pool(host, other_host, path))
    shutil.rmtree(path)


def make_volume(host, other_host, encrypted=False):
    """Create the volume "one", which the other host then knows as well."""
    what = {}
    if encrypted:
        for one in (host, other_host):
            one.virsh("secret-define", "/dev/stdin", input=xmls.secret(SECRET, "key"))
            one.set_secret(SECRET, "open sesame")
        what = {"encryption": "vtpm", "secret": SECRET}
    host.create_volume("one", **what)
    other_host.virsh("pool-refresh", "tpm")


def held_by_swtpm(guest, volume):
    """Whether one swtpm has the lock, its own, and it is the guest's on that host."""
    (pid, program, kind), = guest.host.holders(volume)
    assert (program, kind) == ("swtpm", "POSIX")
    # As it is counted here, and then on the other host, if it is there.
    status = Path(f"/proc/{pid}/status").read_text()
    pids = [int(pid) for pid in re.search(r"^NSpid:(.*)$", status, re.M).group(1).split()]
    running = guest.host.run("pgrep", "-f", f"swtpm socket.*-{guest.name}-swtpm.sock").stdout.split()
    return str(pids[-1]) in running and len(pids) == (2 if guest.host.enter else 1)


def migrate(guest, target, live=True):
    """Migrate a guest. A swtpm answers before it gives up its lock, and the other one asks for that
    only once: if it was too early, the guest goes on, and is migrated again."""
    for _ in range(5):
        done = guest.host.run("virsh", *guest.migration(target, live=live))
        if done.returncode == 0:
            return guest.on(target)
        assert "job 'migration out' unexpectedly failed" in done.stderr, done.stderr
        log = target.path(f"/var/log/swtpm/libvirt/qemu/{guest.name}-swtpm.log").read_text()
        assert "Could not lock" in log, log
        wait_for("the guest goes on", lambda: guest.state() == "running")
    raise AssertionError("the other swtpm is always too early")


def travel(guest, hosts, sealed, volume):
    """Migrate the guest from host to host; each time it unseals what it has sealed, and its
    swtpm, and nobody else, has the lock of the volume."""
    for host in hosts:
        guest = migrate(guest, host)
        guest.wait_report(f"unsealed {sealed}")
        guest.next_report()
        assert held_by_swtpm(guest, volume)
    return guest


@pytest.mark.guest
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_there_and_back(host, other_host, folder, encrypted):
    make_volume(host, other_host, encrypted)
    sidecar = (folder / "one.tpm.xml").read_bytes()
    guest, sealed = start_guest(host)
    assert held_by_swtpm(guest, folder / "one")
    guest = travel(guest, [other_host, host], sealed, folder / "one")
    host.virsh("destroy", "guest")
    assert not host.is_locked(folder / "one")
    assert guest.boot("unseal")["unsealed"] == sealed
    assert {path.name for path in folder.iterdir()} == {"one", "one.tpm.xml", ".one.lock"}
    assert (folder / "one.tpm.xml").read_bytes() == sidecar
    assert bool(host.clear_files(folder)) != encrypted


@pytest.mark.guest
def test_state_that_grows_on_the_way(host, other_host, folder):
    """The guest counts in its TPM, and complains if a number that it has written is gone. It stands
    still while it migrates, for the reason that test_no_write_is_lost has."""
    make_volume(host, other_host)
    guest, _ = start_guest(host, "nvcount")
    guest.wait_report("nv 3")
    count = 0
    for one in [other_host, host] * TRIPS:
        left, guest = guest, migrate(guest, one, live=False)
        guest.next_report()
        for side in (left, guest):
            lines = side.console()
            assert not [line for line in lines if line.startswith("FAILED")], lines
            count = max([count, *(int(line.split()[1]) for line in lines if line.startswith("nv "))])
    host.virsh("destroy", "guest")
    count = max(count, int(guest.console()[-1].split()[1]))
    assert int(guest.boot("nvread")["nv-value"]) in (count, count + 1)


def nobody_else_gets_it(volume, *hosts):
    """On no host can the volume be wiped or deleted."""
    inode = volume.stat().st_ino
    for host in hosts:
        assert IN_USE in host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
        assert IN_USE in host.virsh_fails("vol-delete", "one", "--pool", "tpm")
    assert volume.stat().st_ino == inode and volume.read_bytes().startswith(b"nilmptws")


@pytest.mark.guest
def test_lock_in_each_phase(host, other_host, folder):
    """Of which host is the swtpm that has it; nobody else takes the volume meanwhile."""
    make_volume(host, other_host)
    volume = folder / "one"
    assert host.holders(volume) == set()
    guest, sealed = start_guest(host)
    assert held_by_swtpm(guest, volume)
    nobody_else_gets_it(volume, host, other_host)
    other = other_host.define_guest("other", xmls.tpm_volume("one"))
    assert IN_USE in other_host.virsh_fails("start", "other")
    with slow_migration(guest, other_host):
        # Two swtpm have the volume open; the one that has it in use is still that here.
        wait_for("its swtpm is there", lambda: other_host.run("pgrep", "-x", "swtpm").stdout)
        assert held_by_swtpm(guest, volume)
        nobody_else_gets_it(volume, host, other_host)
        assert IN_USE in other_host.virsh_fails("start", "other")
        host.virsh("domjobabort", "guest")
    wait_for("the other host is left", lambda: "guest" not in other_host.virsh("list", "--all", "--name").split())
    assert held_by_swtpm(guest, volume)
    guest.next_report()
    moved = travel(guest, [other_host], sealed, volume)
    nobody_else_gets_it(volume, host, other_host)
    assert IN_USE in host.virsh_fails("start", "guest")
    other_host.virsh("destroy", "guest")
    assert host.holders(volume) == set()
    assert moved.on(host).boot("unseal")["unsealed"] == sealed
    other.host.virsh("undefine", "other")


# What has QEMU read the TPM, upon which swtpm gives up its lock until the guest goes on.
READS = {
    "dump": ("dump", "guest", "/var/lib/libvirt/memory"),
    "snapshot": ("snapshot-create-as", "guest", "--no-metadata", "--memspec",
                 "file=/var/lib/libvirt/memory,snapshot=external"),
}


def pause_and_read(host, read="dump"):
    """Have a guest paused and its TPM read; its swtpm has no lock then."""
    host.virsh("suspend", "guest")
    host.virsh(*READS[read])
    host.path("/var/lib/libvirt/memory").unlink()


@pytest.mark.guest
@pytest.mark.parametrize("read", READS)
def test_paused_guest_whose_tpm_was_read(host, other_host, folder, read):
    """Its swtpm has no lock, but uses the volume."""
    make_volume(host, other_host)
    guest, _ = start_guest(host)
    pause_and_read(host, read)
    assert host.holders(folder / "one") == set()
    other = other_host.define_guest("other", xmls.tpm_volume("one"))
    assert IN_USE in other_host.virsh_fails("start", "other")
    nobody_else_gets_it(folder / "one", host, other_host)
    host.virsh("resume", "guest")
    guest.next_report()
    assert held_by_swtpm(guest, folder / "one")
    other.host.virsh("undefine", "other")


def test_paused_guest_and_one_who_is_refused(host, other_host, folder):
    """Whoever is refused does not have the lock meanwhile, which swtpm may ask for at any moment."""
    make_volume(host, other_host)
    start_guest(host, "idle")
    pause_and_read(host)
    with open(folder / "one", "r+b") as file, deleting(other_host), deleting(host):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert not host.is_locked_by_another(file)
    host.virsh("resume", "guest")
    wait_for("swtpm has its lock again", lambda: host.holders(folder / "one"))


def test_paused_guest_whose_lock_is_lost(host, other_host, folder):
    """As the server may have given it to another host, the guest does not go on."""
    make_volume(host, other_host)
    start_guest(host, "idle")
    pause_and_read(host)
    (folder / ".one.lock").unlink()
    assert messages.LOCK_LOST("one", "tpm", "guest") in host.virsh_fails("resume", "guest")
    assert host.virsh("domstate", "guest") == "paused"
    host.virsh("destroy", "guest")
    host.virsh("start", "guest")


@contextlib.contextmanager
def deleting(host):
    """Meanwhile somebody tries to delete the volume, as often as that can be refused."""
    done = threading.Event()

    def feed(stdin):
        while not done.wait(0.045):
            stdin.write("vol-delete one --pool tpm\n")
            stdin.flush()

    with subprocess.Popen([*host.enter, "virsh", "-q"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, text=True) as virsh:
        thread = threading.Thread(target=feed, args=[virsh.stdin])
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def test_between_two_locks(host, other_host, folder):
    """One swtpm gives up its lock before the other has it: nobody else gets it."""
    make_volume(host, other_host)
    guest = host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start("idle")
    inode = (folder / "one").stat().st_ino
    for target in [other_host, host] * TRIPS:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(deleting(guest.host))
            guest = migrate(guest, target)
        assert (folder / "one").stat().st_ino == inode


def late_swtpm(host, seconds):
    """With a swtpm that is late: between its start and its opening the volume is time to act."""
    return host.swtpm_after(f"case $* in *print-capabilities*) ;; *) sleep {seconds} ;; esac")


def test_lock_until_swtpm_has_its_own(host, other_host, folder):
    """While a guest starts, from the look at its volume on, nobody else takes it."""
    make_volume(host, other_host)
    volume = folder / "one"
    guest = host.define_guest(tpm=xmls.tpm_volume("one"))
    with late_swtpm(host, 1), subprocess.Popen(["virsh", "-q", "start", "guest"],
                                               stderr=subprocess.PIPE, text=True) as start:
        wait_for("swtpm starts", lambda: host.run("pgrep", "-f", "late-swtpm|/usr/bin/swtpm socket").stdout,
                 every=0.02)
        refused = 0
        while start.poll() is None:
            assert IN_USE in other_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
            refused += 1
        assert start.returncode == 0, start.stderr.read()
    assert refused > 0
    assert held_by_swtpm(guest, volume)


@pytest.mark.guest
def test_broken_off(host, other_host, folder):
    """The guest goes on where it was, its swtpm has the lock, and it can be migrated once more."""
    make_volume(host, other_host)
    guest, sealed = start_guest(host)
    for harm in (kill_process("qemu-system-x86"), kill_process("swtpm"), kill_daemon,
                 lambda _: host.virsh("domjobabort", "guest")):
        with slow_migration(guest, other_host):
            harm(other_host)
        wait_for("the other host is left", lambda: other_host.virsh("list", "--all", "--name") == "")
        assert guest.state() == "running"
        guest.next_report()
        assert held_by_swtpm(guest, folder / "one")
    travel(guest, [other_host, host], sealed, folder / "one")


@pytest.mark.guest
def test_killed_with_the_lock(host, other_host, folder):
    """A host's swtpm that is killed leaves the volume to whoever wants it, whole."""
    make_volume(host, other_host)
    guest, sealed = start_guest(host)
    guest = travel(guest, [other_host], sealed, folder / "one")
    other_host.run("pkill", "-9", "-x", "swtpm")
    wait_for("the lock is free", lambda: host.holders(folder / "one") == set())
    other_host.virsh("destroy", "guest")
    assert guest.on(host).boot("unseal")["unsealed"] == sealed


# A volume elsewhere that goes to a shared directory

@pytest.fixture
def apart(host, other_host, folder):
    """The host has a pool of its own; that of the other host is in the shared folder."""
    host.virsh("pool-destroy", "tpm")
    host.virsh("pool-undefine", "tpm")
    host.define_pool()
    host.create_volume("one")
    return folder


def place(host, other_host, folder, blank):
    """Make a place for the volume "one": blank, or an older state of it."""
    if blank:
        other_host.create_volume("one", tpm=f"<tpm manufacture='no'><uuid>{host.identity('one')}</uuid></tpm>")
        return
    for name in ("one", "one.tpm.xml"):
        shutil.copy(host.path(f"{POOL}/{name}"), folder / name)
    other_host.virsh("pool-refresh", "tpm")


@pytest.mark.guest
@pytest.mark.parametrize("blank", [True, False], ids=["blank", "older"])
def test_to_a_shared_directory(host, other_host, apart, blank):
    """Nobody uses the volume there: it is locked from the beginning, its owner is changed, and it
    has room."""
    place(host, other_host, apart, blank)
    guest, sealed = start_guest(host)
    with slow_migration(guest, other_host):
        assert IN_USE in other_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
        host.virsh("domjobabort", "guest")
    wait_for("the other host is left", lambda: other_host.virsh("list", "--all", "--name") == "")
    travel(guest, [other_host], sealed, apart / "one")
    assert (apart / "one").stat().st_blocks * 512 >= 256 * 1024


def test_volume_in_use_by_no_swtpm(host, other_host, folder):
    """A guest does not take a volume over from a host whose virtqemud does not share it."""
    make_volume(host, other_host)
    guest = host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start("idle")
    (folder / ".one.lock").unlink()
    assert IN_USE in host.virsh_fails(*guest.migration(other_host))
    assert held_by_swtpm(guest, folder / "one")


# A file system that libvirt itself knows to be shared

GLUSTER = "10.9.9.1"
MOUNT = "/var/lib/libvirt/gluster"


def must(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def gluster_server(brick):
    """A Gluster volume "tpm"; yields what to put before a command so that it reaches it. It has a
    network of its own, and what it keeps elsewhere goes with it."""
    folders = [folder for folder in ("/var/lib/glusterd", "/var/log/glusterfs", "/run/gluster")
               if Path(folder).is_dir()]
    script = "\n".join(["set -e", "ip link set lo up", f"ip address add {GLUSTER}/32 dev lo",
                        *(f"mount -n -t tmpfs none {folder}" for folder in folders),
                        "glusterd -N -L WARNING > /dev/null &", "echo ready", "cat > /dev/null", "kill -9 -1"])
    with subprocess.Popen(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                           "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        first, = subprocess.check_output(["pgrep", "-P", str(server.pid)], text=True).split()
        inside = ["nsenter", "--target", first, "--net", "--mount", "--pid"]
        try:
            wait_for("glusterd answers", lambda: subprocess.run(
                [*inside, "gluster", "volume", "list"], capture_output=True, check=False).returncode == 0)
            must(*inside, "gluster", "--mode=script", "volume", "create", "tpm", f"{GLUSTER}:{brick}", "force")
            must(*inside, "gluster", "--mode=script", "volume", "start", "tpm")
            yield ["nsenter", f"--net=/proc/{first}/ns/net"]
        finally:
            server.kill()


@pytest.fixture
def gluster(host, other_host):
    """Each host has mounted the same Gluster volume."""
    if not shutil.which("glusterd"):
        pytest.skip("there is no Gluster here: install glusterfs-server")
    brick = host.path("/var/lib/libvirt/brick")
    brick.mkdir()
    with gluster_server(brick) as reach:
        for one in (host, other_host):
            one.path(MOUNT).mkdir()
            mount = ["glusterfs", "-s", GLUSTER, "--volfile-id=tpm",
                     "--log-file=/var/log/libvirt/gluster.log", MOUNT]
            must(*reach, *one.enter, *mount)
        try:
            yield Path(MOUNT)
        finally:
            for one in (host, other_host):
                one.run("umount", "-n", "-l", MOUNT)
    shutil.rmtree(brick)


@pytest.mark.guest
def test_gluster(host, other_host, gluster):
    """Without a word in qemu.conf the guest goes there and back, and one host at a time has the
    volume."""
    with one_pool(host, other_host, f"{MOUNT}/tpm"):
        make_volume(host, other_host)
        guest, sealed = start_guest(host)
        for one in [other_host, host] * 2:
            guest = migrate(guest, one)
            guest.wait_report(f"unsealed {sealed}")
            guest.next_report()
            for each in (host, other_host):
                assert IN_USE in each.virsh_fails("vol-wipe", "one", "--pool", "tpm")
        host.virsh("destroy", "guest")
        assert guest.boot("unseal")["unsealed"] == sealed
        for one in (host, other_host):
            one.virsh("pool-destroy", "tpm")
