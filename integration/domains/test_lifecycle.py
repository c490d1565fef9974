"""The life of a domain whose TPM is a volume: the start of the host, all ways to end, events, and many
starts. None of them replaces or deletes the volume."""

import contextlib
import itertools
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

import messages
import xmls
from host import DAEMONS, GUEST_DIR, IMAGES, POOL, wait_for
from watched import ONE, end_all, reference, refers


# The start of a host

def end_host(host):
    """What ends when a host is switched off, and what is gone when it is on again."""
    host.daemon("kill", *DAEMONS)
    for program in ("qemu-system", "swtpm"):
        end_all(host, program)
    for daemon in ("secrets", "storage", "qemu"):
        shutil.rmtree(host.path(f"/run/libvirt/{daemon}"))


@contextlib.contextmanager
def switched_on(host):
    """A host that was just switched on: virtqemud starts domains at once. That starts virtstoraged, in
    place of which somebody listens, as systemd does."""
    program = Path(os.environ["LIBVIRT_SANDBOX_BUILD"], "subprojects/libvirt/src/virtstoraged")
    path = host.path("/run/libvirt/virtstoraged-sock")
    path.unlink()
    host.daemon("start", "virtsecretd")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        starting = subprocess.Popen(["sandbox-daemon", "start", "virtqemud"])
        assert select.select([listener], [], [], 30)[0], "nobody has connected to virtstoraged"
        storage = subprocess.Popen(["sh", "-c", f"""
            export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=virtstoraged.socket
            exec {program} --pid-file /run/libvirt/virtstoraged.pid 3<&0 < /dev/null"""], stdin=listener)
        # If it ends, whoever has connected to it is told so, and does not wait for it.
        listener.close()
        try:
            assert starting.wait(timeout=30) == 0
            yield
        finally:
            storage.terminate()
            storage.wait(timeout=30)
    host.daemon("start", "virtstoraged")


def test_autostart(watched_both):
    """Domain and pool, in the same moment."""
    host = watched_both.host
    guest = host.define_guest(tpm=ONE)
    host.virsh("autostart", "guest")
    host.virsh("pool-autostart", "tpm")
    end_host(host)
    with switched_on(host):
        assert guest.state() == "running"
        watched_both.is_held_by(guest.pid("swtpm"))


def test_autostart_without_the_pool(watched, guest):
    """Its folder comes later: as with a pool of type dir, one that is there is active at once."""
    host = watched.host
    host.virsh("autostart", "guest")
    end_host(host)
    folder = host.path(POOL)
    away = folder.rename(folder.with_name("away"))
    with switched_on(host):
        assert guest.state() == "shut off"
        assert messages.POOL_INACTIVE("tpm", "one") in host.log() and "Failed to autostart VM 'guest'" in host.log()
        assert not folder.exists()
        away.rename(folder)
        watched.is_off()
        host.virsh("pool-start", "tpm")
        guest.start()


def test_autostart_with_virtstoraged_there(watched, guest):
    """As where virtqemud alone was not started yet. What was destroyed since then stays off when
    virtqemud is started again."""
    host = watched.host
    host.virsh("autostart", "guest")
    host.daemon("kill", "virtqemud")
    host.path("/run/libvirt/qemu/autostarted").unlink()
    host.daemon("start", "virtqemud")
    assert guest.state() == "running"
    host.virsh("destroy", "guest")
    host.daemon("kill", "virtqemud")
    host.daemon("start", "virtqemud")
    assert guest.state() == "shut off"


# Ways to end, and to start again

def start_to_restart(guest, actions):
    """Start a guest that goes on when it restarts; others end then."""
    guest.host.virsh("define", "/dev/stdin", input=guest.xml(actions).replace(
        "<on_reboot>destroy", "<on_reboot>restart"))
    guest.host.virsh("start", guest.name)


def press(guest, *keys):
    guest.host.virsh("send-key", guest.name, *(f"KEY_{key}" for key in keys))


@pytest.mark.guest
def test_guest_restarts(watched, guest):
    """By itself and by virsh reboot in one swtpm, by destroy and start in another."""
    host = watched.host
    start_to_restart(guest, "watch")
    secret = guest.wait_report("sealed").split()[1]
    swtpm = guest.pid("swtpm")

    def by_itself():
        press(guest, "LEFTCTRL", "LEFTALT", "DELETE")

    def by_request():
        # The guest does not hear of it: nothing in there waits for the power button.
        host.virsh("reboot", "guest")
        press(guest, "LEFTALT", "SYSRQ", "O")

    for restart in (by_itself, by_request):
        restart()
        guest.next_report("booted")
        assert guest.next_report("unsealed").split()[1] == secret
        watched.is_held_by(swtpm)
    host.virsh("destroy", "guest")
    watched.is_off()
    host.virsh("start", "guest")
    assert guest.next_report("unsealed").split()[1] == secret
    press(guest, "LEFTALT", "SYSRQ", "O")
    guest.wait_off()
    watched.is_off()


def test_reset(watched, guest):
    start_to_restart(guest, "idle")
    swtpm = guest.pid("swtpm")
    watched.host.virsh("reset", "guest")
    assert guest.state() == "running"
    watched.is_held_by(swtpm)


def test_qemu_crashes(watched, guest):
    guest.start()
    os.kill(guest.pid("qemu"), signal.SIGKILL)
    guest.wait_off()
    assert watched.host.virsh("domstate", "guest", "--reason") == "shut off (crashed)"
    watched.is_off()
    guest.start()
    watched.is_held_by(guest.pid("swtpm"))


def test_swtpm_crashes(watched, guest):
    """The guest goes on without; its volume is nobody's."""
    guest.start()
    swtpm = guest.pid("swtpm")
    os.kill(swtpm, signal.SIGKILL)
    watched.host.wait_for_end(swtpm)
    assert guest.state() == "running"
    watched.check()
    watched.host.virsh("destroy", "guest")
    guest.start()
    watched.is_held_by(guest.pid("swtpm"))


@pytest.mark.guest
def test_daemons_crash(watched_both):
    """The guest goes on, as does its TPM."""
    host = watched_both.host
    guest = host.define_guest(tpm=ONE)
    guest.start("watch")
    secret = guest.wait_report("sealed").split()[1]
    swtpm = guest.pid("swtpm")
    for names in (["virtqemud"], ["virtstoraged"], ["virtqemud", "virtstoraged"]):
        host.daemon("kill", *names)
        assert guest.next_report("unsealed").split()[1] == secret
        host.daemon("start", *names)
        assert guest.state() == "running"
        assert guest.next_report("unsealed").split()[1] == secret
        watched_both.is_held_by(swtpm)
    host.virsh("destroy", "guest")
    watched_both.is_off()


def test_rename(watched, guest):
    watched.host.virsh("domrename", "guest", "other")
    assert reference(watched.host, "other") == refers("one")
    watched.host.virsh("start", "other")
    watched.check()


# What leaves the volume alone

def test_transient_domain(watched, guest):
    """However it ends, nothing is left of it but its volume."""
    host = watched.host
    host.virsh("undefine", "guest")

    def destroy():
        host.virsh("destroy", "guest")

    def crash():
        os.kill(guest.pid("qemu"), signal.SIGKILL)
        wait_for("it is gone", lambda: not host.virsh("list", "--all", "--name"))

    for end in (destroy, crash):
        host.virsh("create", "/dev/stdin", input=guest.xml("idle"))
        watched.is_held_by(guest.pid("swtpm"))
        end()
        assert host.virsh("list", "--all", "--name") == ""
        watched.is_off()


def undefine_flags():
    """All that can be said together."""
    yield from map(" ".join, itertools.product(
        ("", "--tpm", "--keep-tpm"), ("", "--nvram", "--keep-nvram"), ("", "--managed-save"),
        ("", "--snapshots-metadata"), ("", "--checkpoints-metadata"),
        ("", "--storage sda", "--storage sda --wipe-storage", "--remove-all-storage",
         "--remove-all-storage --wipe-storage")))


def test_undefine_with_every_flag(watched, guest, tmp_path):
    """For a domain that has a disk, too, which is what the flags about storage are for."""
    host = watched.host
    host.define_pool("images", "dir", IMAGES)
    xml = tmp_path / "guest.xml"
    xml.write_text(guest.xml().replace("<devices>", """<devices>
        <disk type='volume'><source pool='images' volume='disk'/><target dev='sda'/></disk>"""))
    commands = ["vol-create-as images disk 4k"]
    for flags in undefine_flags():
        commands += [f"define {xml}", f"undefine guest {flags}"]
        if "storage" in flags:
            commands.append("vol-create-as images disk 4k")
    host.virsh("undefine", "guest")
    done = host.run("virsh", "-q", input="\n".join(commands))
    assert done.stderr == "", done.stderr
    watched.is_off()


def test_undefine_of_a_volume_by_its_path(watched, guest):
    """It is no disk of the domain."""
    said = watched.host.virsh_fails("undefine", "guest", "--storage", f"{POOL}/one")
    assert f"Volume '{POOL}/one' was not found in domain's definition" in said


def test_undefine_what_is_saved(watched, guest):
    host = watched.host
    guest.start()
    host.virsh("managedsave", "guest")
    host.virsh("undefine", "guest", "--managed-save", "--tpm")
    watched.is_off()


# Events

def touch(host, name):
    """Make an event of another domain."""
    host.virsh("define", "/dev/stdin", input=xmls.domain(name, uuid.uuid4(), "", "", GUEST_DIR))
    host.virsh("undefine", name)


@contextlib.contextmanager
def events(host):
    """Yields a list, in which there is in the end what virsh event has told of life cycles."""
    found = []
    virsh = subprocess.Popen(["stdbuf", "-oL", "virsh", "event", "--event", "lifecycle", "--loop"],
                             stdout=subprocess.PIPE, text=True)
    try:
        wait_for("virsh listens", lambda: touch(host, "begin") or select.select([virsh.stdout], [], [], 0.1)[0])
        yield found
        touch(host, "end")
        for line in virsh.stdout:
            told = re.fullmatch("event 'lifecycle' for domain '(.*)': (.*)\n", line)
            assert told, line
            name, event = told.groups()
            if name == "end":
                break
            if name != "begin":
                found.append(event)
    finally:
        virsh.terminate()
        virsh.communicate()


def events_of_a_life(host, tpm, no_tpm):
    """Of a domain that lives, then cannot start because of its TPM."""
    with events(host) as found:
        guest = host.define_guest(tpm=tpm)
        host.virsh("start", "guest")
        for action in ("suspend", "resume", "destroy"):
            host.virsh(action, "guest")
        guest.start()
        os.kill(guest.pid("qemu"), signal.SIGKILL)
        guest.wait_off()
        guest.tpm = no_tpm
        guest.define("info")
        host.virsh_fails("start", "guest")
        host.virsh("undefine", "guest")
    return found


def test_events(watched):
    """They are those of a domain whose TPM libvirt makes."""
    implicit = xmls.tpm_emulator()
    no_secret = xmls.tpm_emulator(inner=f"<encryption secret='{uuid.uuid4()}'/>")
    expected = events_of_a_life(watched.host, implicit, no_secret)
    assert "Started Booted" in expected and "Stopped Failed" in expected
    missing = xmls.tpm_volume("missing")
    assert events_of_a_life(watched.host, ONE, missing) == expected
    watched.is_off()


# Again and again

def traces(host):
    """What could be left over: processes, files and mounts."""
    processes = set(host.run("ps", "-eo", "comm=").stdout.splitlines()) - {"ps"}
    files = host.run("find", "/run/libvirt", "/var/lib/libvirt").stdout.splitlines()
    return processes.union(files, host.path("/proc/mounts").read_text().splitlines())


def traces_of_one_start(guest):
    """What there is after the first start, and stays: folders and the guest's console."""
    guest.start()
    guest.host.virsh("destroy", guest.name)
    guest.host.wait_for_none("swtpm")
    return traces(guest.host)


def test_starts_and_stops(watched, guest):
    host = watched.host
    before = traces_of_one_start(guest)
    for _ in range(200):
        host.virsh("start", "guest")
        host.virsh("destroy", "guest")
    watched.is_off()
    assert traces(host) ^ before == set()


def kill(guest, program):
    """A crash of QEMU, swtpm or virtqemud at this very moment."""
    # There may be none yet or no more.
    with contextlib.suppress(ValueError, ProcessLookupError):
        if program == "virtqemud":
            pid = int(guest.host.path("/run/libvirt/virtqemud.pid").read_text())
        else:
            pid = guest.pid(program)
        os.kill(pid, signal.SIGKILL)
        guest.host.wait_for_end(pid)


def runs(program):
    """Whether a program runs, without the time that pgrep takes."""
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_text() == f"{program}\n":
                return True
    return False


def remove_folders(host):
    """Remove what libvirt itself leaves of any domain, if virtqemud is killed while it starts one."""
    for folder in (*host.path("/var/lib/libvirt/qemu").glob("domain-*"),
                   *host.path("/run/libvirt/qemu/channel").iterdir()):
        shutil.rmtree(folder)


def test_virtqemud_crashes_when_swtpm_starts(watched, guest):
    """The swtpm that is there already does not stand in the way. The domain gets another id than it
    had: libvirt knows what is left of a domain by its id."""
    host = watched.host
    guest.define("idle")
    for _ in range(10):
        host.virsh("start", "guest")
        host.virsh("destroy", "guest")
        starting = subprocess.Popen(["virsh", "start", "guest"], stderr=subprocess.DEVNULL)
        wait_for("swtpm runs", lambda: runs("swtpm"), every=0)
        kill(guest, "virtqemud")
        starting.wait()
        host.daemon("start", "virtqemud")
        guest.wait_off()
        host.virsh("start", "guest")
        host.virsh("destroy", "guest")
        watched.is_off()
        remove_folders(host)


def test_crashes_at_any_moment(watched, guest):
    """While the guest starts, which takes some 0.3 s, and after."""
    host = watched.host
    before = traces_of_one_start(guest)
    seed = random.randrange(1 << 32)
    print(f"seed: {seed}")
    chance = random.Random(seed)
    for _ in range(50):
        program = chance.choice(["qemu", "swtpm", "virtqemud"])
        starting = subprocess.Popen(["virsh", "start", "guest"], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True)
        moment = chance.uniform(0, 0.7)
        time.sleep(moment)
        kill(guest, program)
        said = starting.communicate()[0].strip()
        if program == "virtqemud":
            host.daemon("start", program)
        state = guest.state()
        print(f"{program} {moment:.3f} {state} {said!r}")
        # It may be off.
        host.run("virsh", "destroy", "guest")
        guest.wait_off()
        watched.is_off()
        if program == "virtqemud":
            remove_folders(host)
    assert traces(host) ^ before == set()
