"""The life of a domain whose TPM is a volume, and changes to the domain. None of them replaces or
deletes the volume."""

import contextlib
import itertools
import os
import random
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import time
import uuid
from pathlib import Path

import pytest

import messages
import xmls
from expected import Output, error
from host import DAEMONS, GUEST_DIR, IMPLICIT, POOL, wait_for

PASSPHRASE = "open sesame"
ONE = xmls.tpm_volume("one", "tpm")
TWO = xmls.tpm_volume("two", "tpm")


class Watched:
    """A host where nothing may come or go beside its volumes, each of which stays the same file, with
    its sidecar as it was."""

    def __init__(self, host, passphrase=None):
        self.host = host
        self.passphrase = passphrase
        self.volumes = []
        self.before = {}

    def create(self, name, **what):
        """Create a volume, by vol-create or as a copy of another; it is there from now on."""
        if self.passphrase is not None:
            secret = self.host.define_secret(self.passphrase, f"tpm-{name}")
            what |= {"encryption": "vtpm", "secret": secret}
        make = self.host.copy_volume if "source" in what else self.host.create_volume
        self.volumes.append(self.host.path(make(name=name, **what)))
        self.before = self.facts()

    def facts(self):
        found = self.host.contents(POOL, IMPLICIT)
        # What is in a volume changes when a guest uses it; and a file gets its owner when swtpm
        # is about to.
        for path in self.volumes:
            found[str(path)] = path.stat().st_ino
        return found

    def check(self):
        """All is as it was; as many locks are held as there are swtpms, and where none is held the
        volume opens."""
        assert self.facts() == self.before
        locked = [path for path in self.volumes if self.host.is_locked(path)]
        assert len(locked) == len(self.host.run("pgrep", "-x", "swtpm").stdout.split())
        for path in set(self.volumes) - set(locked):
            self.host.opens_in_swtpm(path, self.passphrase)

    def is_off(self):
        """The same, where no guest runs any more."""
        self.host.wait_for_none("swtpm")
        self.check()

    def is_held_by(self, pid):
        """The same, where a process has the lock of the first volume."""
        self.check()
        said = self.host.virsh_fails("-c", "storage:///system", "vol-delete", "one", "--pool", "tpm")
        assert messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(pid, "swtpm")) in said


@contextlib.contextmanager
def watching(host, passphrase=None):
    """Watches a host with the volume 'one', until all guests are off."""
    this = Watched(host, passphrase)
    this.create("one")
    try:
        yield this
        for name in host.virsh("list", "--name").split():
            host.run("virsh", "destroy", name)
        this.is_off()
    finally:
        end_all(host, "swtpm")


@pytest.fixture
def watched(tpm_host):
    """A host with the volume 'one'; it is the same after the test."""
    with watching(tpm_host) as this:
        yield this


@pytest.fixture(params=[None, PASSPHRASE], ids=["clear", "encrypted"])
def watched_both(tpm_host, request):
    """The same, twice: with the volume clear and encrypted."""
    with watching(tpm_host, request.param) as this:
        yield this


@pytest.fixture
def guest(watched):
    """A domain on the volume 'one', which is off."""
    return watched.host.define_guest(tpm=ONE)


def end_all(host, program):
    """End all processes of a program, as a crash does."""
    for pid in host.run("pgrep", program).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    host.wait_for_none(program)


def reference(host, name="guest", *options):
    """The <storage> of a domain's TPM."""
    return host.domain_tpm(name, *options).find("storage").attrib


def refers(volume, pool="tpm"):
    return {"pool": pool, "volume": volume}


def works(host, *command):
    """Run another program than virsh, which must succeed; returns what it printed."""
    done = host.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


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


# Saved and restored

def image_xml(host, image, old, new):
    """The XML of a saved image with another <tpm> or a part of it."""
    text = host.virsh("save-image-dumpxml", image, "--security-info")
    changed = re.sub(old, new, text, flags=re.S)
    assert changed != text
    path = image.with_suffix(".xml")
    path.write_text(changed)
    return path


@pytest.mark.guest
def test_saved_guest_goes_on(watched_both, tmp_path):
    host = watched_both.host
    image = tmp_path / "image"
    guest = host.define_guest(tpm=ONE)
    guest.start("watch")
    secret = guest.wait_report("sealed").split()[1]

    def goes_on(volume="one"):
        assert reference(host) == refers(volume)
        assert guest.next_report("unsealed").split()[1] == secret
        watched_both.check()

    host.virsh("save", "guest", image)
    watched_both.is_off()
    host.virsh("restore", image)
    goes_on()
    assert error("VIR_ERR_OPERATION_INVALID", "guest", "already active") in host.virsh_fails("restore", image)
    host.virsh("destroy", "guest")
    host.virsh("restore", image)
    goes_on()
    host.virsh("managedsave", "guest")
    watched_both.is_off()
    host.virsh("start", "guest")
    goes_on()

    host.virsh("destroy", "guest")
    watched_both.create("two", source="one")
    facts = host.contents(POOL)[f"{POOL}/one"]
    host.virsh("restore", image, "--xml", image_xml(host, image, "volume='one'", "volume='two'"))
    goes_on("two")
    host.virsh("destroy", "guest")
    watched_both.is_off()
    assert host.contents(POOL)[f"{POOL}/one"] == facts


def test_restored_without_the_reference(watched, guest, tmp_path):
    """Its TPM would be in a place where libvirt keeps those that it makes, and the volume left behind."""
    host = watched.host
    image = tmp_path / "image"
    guest.start()
    host.virsh("save", "guest", image)
    changed = image_xml(host, image, "<tpm.*</tpm>", xmls.tpm_emulator())
    before = host.contents(POOL, IMPLICIT, tmp_path)
    assert messages.ABI_NO_VOLUME("one", "tpm") in host.virsh_fails("restore", image, "--xml", changed)
    assert host.contents(POOL, IMPLICIT, tmp_path) == before


def wipe(host):
    host.virsh("vol-wipe", "one", "--pool", "tpm")


def delete(host):
    host.virsh("vol-delete", "one", "--pool", "tpm")


def create_again(host):
    """Another TPM of the same name."""
    delete(host)
    host.create_volume("one")


def lose_description(host):
    """It could be any TPM's volume by now."""
    host.path(f"{POOL}/one.tpm.xml").unlink()


def create_blank(host):
    """With the very identity."""
    identity = host.identity("one")
    delete(host)
    host.create_volume("one", tpm=f"<tpm manufacture='no'><uuid>{identity}</uuid></tpm>")


@pytest.mark.parametrize("managed", [False, True], ids=["save", "managedsave"])
@pytest.mark.parametrize("harm, message", [
    (wipe, lambda *_: messages.BLANK("one", "tpm")),
    (delete, lambda *_: messages.NOT_FOUND_IN_EMPTY_DIRECTORY("one", "tpm", POOL)),
    (create_again, lambda saved, now: messages.HAS_OTHER_IDENTITY("one", "tpm", now, saved)),
    (lose_description, lambda saved, _: messages.HAS_NO_IDENTITY("one", "tpm", saved)),
    (create_blank, lambda *_: messages.BLANK("one", "tpm")),
], ids=["wiped", "deleted", "created-again", "no-description", "blank"])
def test_harmed_meanwhile(tpm_host, tmp_path, harm, message, managed):
    """The saved guest is kept, and what is there in place of the volume."""
    tpm_host.create_volume("one")
    saved = tpm_host.identity("one")
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start()
    image = tpm_host.path("/var/lib/libvirt/qemu/save/guest.save") if managed else tmp_path / "image"
    tpm_host.virsh(*(["managedsave", "guest"] if managed else ["save", "guest", image]))
    harm(tpm_host)
    now = tpm_host.identity("one") if harm is create_again else None
    before = tpm_host.contents(POOL, IMPLICIT, image.parent)
    said = tpm_host.virsh_fails(*(["start", "guest"] if managed else ["restore", image]))
    assert message(saved, now) in said
    assert tpm_host.contents(POOL, IMPLICIT, image.parent) == before
    assert guest.state() == "shut off"
    tpm_host.wait_for_none("swtpm")


@pytest.mark.parametrize("described", [True, False], ids=["described", "no-description"])
@pytest.mark.parametrize("source", [ONE, xmls.tpm_emulator()], ids=["volume", "implicit"])
def test_restored_on_another_tpm(tpm_host, tmp_path, source, described):
    """A volume of which the saved guest knows nothing is not overwritten with its TPM, nor one
    whose identity is not known."""
    for name in ("one", "two"):
        tpm_host.create_volume(name)
    if not described:
        tpm_host.path(f"{POOL}/two.tpm.xml").unlink()
    guest = tpm_host.define_guest(tpm=source)
    guest.start()
    image = tmp_path / "image"
    tpm_host.virsh("save", "guest", image)
    changed = image_xml(tpm_host, image, "<tpm.*</tpm>", TWO)
    before = tpm_host.contents(POOL, IMPLICIT, tmp_path)
    found = [tpm_host.identity("two")] if described else []
    # The saved guest tells which TPM it had, but for one that was on no volume.
    if source == ONE:
        message = messages.HAS_OTHER_IDENTITY if described else messages.HAS_NO_IDENTITY
        expected = [tpm_host.identity("one")]
    else:
        message = messages.IDENTITY_NOT_KNOWN if described else messages.HAS_NO_IDENTITY_AND_NONE_EXPECTED
        expected = []
    assert message("two", "tpm", *found, *expected) in tpm_host.virsh_fails("restore", image, "--xml", changed)
    assert tpm_host.contents(POOL, IMPLICIT, tmp_path) == before


@pytest.mark.parametrize("how", ["restore", "managedsave"])
def test_encrypted_tpm_is_not_restored_on_a_clear_volume(tpm_host, tmp_path, how):
    """A copy of the volume that was made without a secret while the guest was saved. swtpm finds that
    when it is given the TPM, and writes nothing."""
    secret = tpm_host.define_secret(PASSPHRASE, "key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start_paused()
    image = tmp_path / "image"
    tpm_host.virsh(*(["managedsave", "guest"] if how == "managedsave" else ["save", "guest", image]))
    tpm_host.copy_volume("one", "two")
    for suffix in ("", ".tpm.xml"):
        tpm_host.path(f"{POOL}/two{suffix}").replace(f"{POOL}/one{suffix}")
    tpm_host.virsh("pool-refresh", "tpm")
    before = tpm_host.path(f"{POOL}/one").read_bytes()
    said = tpm_host.virsh_fails(*(["start", "guest"] if how == "managedsave" else ["restore", image]))
    assert messages.CLEAR_SINCE_SAVED("one", "tpm") in said
    assert tpm_host.path(f"{POOL}/one").read_bytes() == before
    assert guest.state() == "shut off"


@pytest.mark.parametrize("how", ["restore", "managedsave"])
def test_secret_that_was_changed_since_the_guest_was_saved(tpm_host, tmp_path, how):
    """The passphrase encrypts the TPM in the guest's saved memory, too: the guest starts with the old one."""
    secret = tpm_host.define_secret(PASSPHRASE, "key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start_paused()
    image = tmp_path / "image"
    save, start = ((["managedsave", "guest"], ["start", "guest"]) if how == "managedsave" else
                   (["save", "guest", image], ["restore", image]))
    tpm_host.virsh(*save)
    before = tpm_host.path(f"{POOL}/one").read_bytes()
    tpm_host.set_secret(secret, "changed")
    assert messages.OTHER_SECRET_SINCE_SAVED("one", "tpm") in tpm_host.virsh_fails(*start)
    assert tpm_host.path(f"{POOL}/one").read_bytes() == before
    assert guest.state() == "shut off"
    tpm_host.set_secret(secret, PASSPHRASE)
    tpm_host.virsh(*start)
    assert guest.state() == "paused"


# What changes between look-up and lock

def waits_for_reader(path):
    """Whether a process waits in open() for somebody to read from a pipe: openat is system call
    257, or 2."""
    for name in Path("/proc").glob("[0-9]*/task/*/syscall"):
        with contextlib.suppress(OSError):
            if name.read_text().split()[0] in ("257", "2"):
                return stat.S_ISFIFO(path.stat().st_mode)
    return False


def change_while_starting(guest, change):
    """Start a guest, and change something when libvirt has looked up the volume, and not locked it
    yet: it opens the file of the guest's console in between. Returns what virsh said."""
    console = guest.host.path(f"{GUEST_DIR}/{guest.name}.console")
    console.unlink(missing_ok=True)
    os.mkfifo(console, 0o666)
    starting = subprocess.Popen(["virsh", "-q", "start", guest.name], stderr=subprocess.PIPE, text=True)
    try:
        wait_for("virtqemud opens the console", lambda: waits_for_reader(console), timeout=30)
        change()
    finally:
        reader = os.open(console, os.O_RDONLY | os.O_NONBLOCK)
    said = Output(starting.communicate(timeout=30)[1])
    os.close(reader)
    console.unlink()
    assert starting.returncode, "it has started"
    return said


@pytest.mark.parametrize("command", ["managedsave", "start"])
def test_another_volume_while_starting(tpm_host, command):
    """Which holds another TPM by now: it is not overwritten with the one that was saved, nor is
    the guest started with it unawares."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=ONE)
    guest.define("idle")
    if command == "managedsave":
        guest.start()
        tpm_host.virsh("managedsave", "guest")
    said = change_while_starting(guest, lambda: create_again(tpm_host))
    assert messages.CHANGED_WHILE_STARTING("one", "tpm") in said
    assert guest.state() == "shut off"
    tpm_host.wait_for_none("swtpm")
    # It is as it was made: certificates and state are of one TPM.
    tpm_host.opens_in_swtpm(f"{POOL}/one")
    if command == "managedsave":
        tpm_host.virsh("managedsave-remove", "guest")
    guest.start()


def test_another_secret_while_starting(tpm_host):
    secrets = [tpm_host.define_secret(PASSPHRASE, f"tpm-{name}") for name in ("one", "two")]
    tpm_host.create_volume("one", encryption="vtpm", secret=secrets[0])
    guest = tpm_host.define_guest(tpm=ONE)
    guest.define("idle")

    def change():
        sidecar = tpm_host.path(f"{POOL}/one.tpm.xml")
        sidecar.write_text(sidecar.read_text().replace(*secrets))

    said = change_while_starting(guest, change)
    assert messages.CHANGED_WHILE_STARTING("one", "tpm") in said
    guest.start()


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
    host.define_pool("images", "dir", "/var/lib/libvirt/images")
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


# Changes to the domain

def edit(host, script):
    """virsh edit with an editor that follows a script of sed."""
    editor = host.path("/var/lib/libvirt/editor")
    editor.write_text(f"#!/bin/sh\nexec sed -i '{script}' \"$1\"\n")
    editor.chmod(0o755)
    return works(host, "env", f"EDITOR={editor}", "virsh", "edit", "guest")


def test_edit(watched, guest):
    host = watched.host
    edit(host, "s/262144/307200/")
    assert "<memory unit='KiB'>307200<" in host.virsh("dumpxml", "guest")
    assert reference(host) == refers("one")


@pytest.mark.parametrize("running", [False, True])
def test_define_with_another_volume(watched, guest, running):
    """A running guest keeps the one that it has until it is started again."""
    host = watched.host
    host.define_pool("other", target="/var/lib/libvirt/images")
    host.create_volume("two", "other")
    if running:
        guest.start()
        swtpm = guest.pid("swtpm")
    guest.tpm = xmls.tpm_volume("two", "other")
    guest.define("idle")
    assert reference(host, "guest", "--inactive") == refers("two", "other")
    if running:
        assert reference(host) == refers("one")
        watched.is_held_by(swtpm)
        host.virsh("destroy", "guest")
    host.virsh("start", "guest")
    assert reference(host) == refers("two", "other")
    assert host.is_locked("/var/lib/libvirt/images/two")
    assert not host.is_locked(f"{POOL}/one")
    watched.host.virsh("destroy", "guest")


@pytest.mark.parametrize("options", [["--inactive"], ["--migratable"], ["--inactive", "--migratable"], []],
                         ids=" ".join)
@pytest.mark.parametrize("running", [False, True])
def test_dumped_xml_can_be_defined(watched, guest, options, running):
    """The identity stays with the running guest."""
    host = watched.host
    if running:
        guest.start()
    host.virsh("define", "/dev/stdin", input=host.virsh("dumpxml", "guest", *options))
    assert reference(host, "guest", "--inactive") == refers("one")
    assert "<source type='volume'/>" in host.virsh("dumpxml", "guest", "--inactive")
    if running:
        host.virsh("destroy", "guest")
    guest.start()


@pytest.mark.parametrize("action", ["attach", "detach", "update"])
@pytest.mark.parametrize("options, kind", [(["--live"], "live"), (["--config"], "persistent")])
@pytest.mark.parametrize("tpm", [ONE, TWO], ids=["one", "two"])
def test_device_commands(watched, guest, action, options, kind, tpm):
    """They say that a TPM is not what they can change."""
    host = watched.host
    if kind == "live":
        guest.start()
    before = host.virsh("dumpxml", "guest"), host.virsh("dumpxml", "guest", "--inactive")
    said = host.virsh_fails(f"{action}-device", "guest", "/dev/stdin", *options, input=tpm)
    assert f"{kind} {action} of device 'tpm' is not supported" in said
    assert (host.virsh("dumpxml", "guest"), host.virsh("dumpxml", "guest", "--inactive")) == before


# Clients that know less

def without_reference(text):
    """Domain XML as it is written by a client that knows neither <storage> nor <source>."""
    changed = re.sub("<storage [^>]*volume=[^>]*/>|<source type='volume'[^>]*/>", "", text)
    assert changed != text
    return changed


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("options", [[], ["--inactive"]], ids=["live", "inactive"])
def test_definition_that_lost_the_reference(watched, guest, running, options):
    """The guest would start with an empty TPM."""
    host = watched.host
    if running:
        guest.start()
    text = without_reference(host.virsh("dumpxml", "guest", *options))
    before = host.path("/etc/libvirt/qemu/guest.xml").read_text()
    said = host.virsh_fails("define", "/dev/stdin", input=text)
    assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in said
    assert host.path("/etc/libvirt/qemu/guest.xml").read_text() == before
    assert reference(host) == reference(host, "guest", "--inactive") == refers("one")
    # Nor does another way to start it help.
    if not running:
        assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in host.virsh_fails(
            "create", "/dev/stdin", input=text)
    host.daemon("restart", "virtqemud")
    assert reference(host, "guest", "--inactive") == refers("one")


def test_transient_domain_that_is_defined_without_the_reference(watched, guest):
    host = watched.host
    host.virsh("undefine", "guest")
    host.virsh("create", "/dev/stdin", input=guest.xml("idle"))
    text = without_reference(host.virsh("dumpxml", "guest", "--inactive"))
    assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in host.virsh_fails(
        "define", "/dev/stdin", input=text)
    host.virsh("define", "/dev/stdin", input=guest.xml("idle"))
    assert reference(host, "guest", "--inactive") == refers("one")


@pytest.mark.parametrize("tpm", [
    "", xmls.tpm_emulator(inner="<source type='dir' path='/var/lib/libvirt/images/state'/>"),
    xmls.tpm_volume("two")], ids=["none", "source", "volume"])
def test_reference_that_is_given_up_on_purpose(watched, guest, tpm):
    host = watched.host
    guest.tpm = tpm
    guest.define("info")
    if not tpm:
        guest.tpm = xmls.tpm_emulator()
        guest.define("info")
    assert host.domain_tpm("guest", "--inactive").find("storage") is None or "two" in tpm


def test_defined_as_it_was_dumped_from_a_running_guest(watched, guest):
    """Under another name; what is told of the running TPM is not kept."""
    host = watched.host
    guest.start()
    other = host.virsh("dumpxml", "guest", "--security-info").replace(guest.uuid, str(uuid.uuid4())).replace(
        "<name>guest<", "<name>other<")
    assert f"<source type='volume' uuid='{host.identity('one')}'/>" in other
    host.virsh("define", "/dev/stdin", input=other)
    for text in (host.path("/etc/libvirt/qemu/other.xml").read_text(), host.virsh("dumpxml", "other")):
        assert "<source type='volume'/>" in text


# The clients of the distribution

def test_virt_xml_keeps_the_reference(watched, guest):
    host = watched.host
    works(host, "virt-xml", "guest", "--edit", "--memory", "300")
    assert reference(host) == refers("one")
    works(host, "virt-xml", "guest", "--edit", "--tpm", "model=tpm-tis")
    assert reference(host) == refers("one")
    assert "<tpm model='tpm-tis'>" in host.virsh("dumpxml", "guest")
    guest.start()


def test_virt_clone_refers_to_the_same_volume(watched, guest):
    """Which only one of the two can use at a time."""
    host = watched.host
    works(host, "virt-clone", "--original", "guest", "--name", "other", "--auto-clone")
    assert reference(host, "other") == refers("one")
    guest.start()
    said = host.virsh_fails("start", "other")
    assert messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(guest.pid("swtpm"), "swtpm")) in said
    host.virsh("destroy", "guest")
    host.virsh("start", "other")
    watched.check()


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
