"""What swtpm has access to, and the errors if it, or libvirt, has none.

AppArmor's profile, links and other files in place of swtpm's own, and its log, from which the reason is told.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
import xml.etree.ElementTree as etree
from pathlib import Path

import pytest

import messages
import xmls
from preload import Deed, Preload
from host import IMPLICIT, POOL, TOP, wait_for

# Where the logs of swtpm are.
LOGS = "/var/log/swtpm/libvirt/qemu"
# Names that AppArmor would read as patterns, variables or the end of the quotes.
PATTERNS = ["x*", "p?r", "a[b", "a]b", "{q", "{q}", "@{y}", "a^b", 'a"b', "+ %s", "-é"]

HELPER = TOP / "build/subprojects/libvirt/src/virt-aa-helper"


def apparmor_rules(host, name="guest"):
    """The files in the AppArmor profile of a running domain: {path: permissions}."""
    status = etree.fromstring(host.path(f"/run/libvirt/qemu/{name}.xml").read_text())
    domain = status.find("domain")
    done = host.run(HELPER, "--dryrun", "--replace", "--uuid", f"libvirt-{domain.findtext('uuid')}",
                    input=etree.tostring(domain, encoding="unicode"))
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r'^ *"((?:[^"\\]|\\.)*)" (\w+),$', done.stdout + done.stderr, re.M))


def apparmor_files(rule, folder):
    """The files that AppArmor's own compiler allows by the path of a rule: one, or None if
    the path is a pattern."""
    profile = folder / "profile"
    profile.write_text(f'profile p {{\n  "{rule}" rwk,\n}}\n')
    done = subprocess.run(["apparmor_parser", "-Q", "-K", "-D", "dfa-states", profile],
                          capture_output=True, text=True, check=True)
    states = {}
    for line in (done.stdout + done.stderr).splitlines():
        if found := re.match(r"\{(\d+)\} perms:", line):
            state = states[found[1]] = []
        elif found := re.match(r" +.*(0x[0-9a-f]+) -> \{(\d+)\}", line):
            state.append((int(found[1], 16), found[2]))
        elif "->" in line:
            return None
    at, path = "1", b""
    while states.get(at):
        if len(states[at]) > 1:
            return None
        byte, at = states[at][0]
        path += bytes([byte])
    return path.decode()


def test_apparmor_profile(tpm_host):
    """The domain's own volume, and its locks; nothing of other TPMs."""
    if not HELPER.exists():
        pytest.skip("libvirt is built without AppArmor")
    for name in ("one", "two"):
        tpm_host.create_volume(name)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    rules = apparmor_rules(tpm_host)
    lock = f"/run/libvirt/tpm-identity/{tpm_host.identity('one')}.lock"
    assert {path: rights for path, rights in rules.items() if path.startswith(POOL) or path == lock} == {
        f"{POOL}/one": "rwk", f"{POOL}/.one.lock": "rwk", lock: "rwk"}
    assert not any(path.startswith(IMPLICIT) for path in rules)


def test_apparmor_profile_of_an_implicit_tpm(tpm_host):
    if not HELPER.exists():
        pytest.skip("libvirt is built without AppArmor")
    tpm_host.define_guest().start()
    rules = apparmor_rules(tpm_host)
    assert any(path.startswith(IMPLICIT) for path in rules)
    assert not any(path.startswith(POOL) for path in rules)


@pytest.mark.parametrize("name", PATTERNS)
def test_apparmor_rule_is_for_one_volume(tpm_host, tmp_path, name):
    """Whatever the volume's name is, and the domain's."""
    if not HELPER.exists():
        pytest.skip("libvirt is built without AppArmor")
    if not shutil.which("apparmor_parser"):
        pytest.skip("apparmor_parser is not there: run scripts/setup")
    text = name.replace('"', "&quot;")
    tpm_host.virsh("vol-create", "tpm", "/dev/stdin", input=xmls.volume(text))
    guest = tpm_host.define_guest(name=text, tpm=xmls.tpm_volume(text))
    guest.define("idle")
    tpm_host.virsh("start", name)
    rules = apparmor_rules(tpm_host, name)
    files = {apparmor_files(rule, tmp_path) for rule in rules
             if not re.search(r"(?<!\\)\*$", rule) and "**" not in rule}
    assert f"{POOL}/{name}" in files
    assert f"{LOGS}/{name}-swtpm.log" in files
    # What is left are patterns that libvirt means, none of them in the pool.
    assert not any(rule.startswith(POOL) for rule in rules if apparmor_files(rule, tmp_path) is None)


# What another user may put in the place of a file

def put_directory(path):
    path.mkdir()


def put_link(path):
    path.symlink_to(path.with_name("other"))


def put_hard_link(path):
    os.link(path.with_name("other"), path)


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("tpm", ["volume", "implicit"])
@pytest.mark.parametrize("put", [os.mkfifo, put_directory, put_link, put_hard_link, put_socket])
def test_log_that_is_none(tpm_host, put, tpm):
    """The start is refused at once, nothing is read, and nothing gets another owner."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one") if tpm == "volume" else xmls.tpm_emulator())
    logs = tpm_host.path(LOGS)
    logs.mkdir(parents=True, exist_ok=True)
    other = logs / "other"
    other.write_text("top secret")
    other.chmod(0o600)
    log = logs / "guest-swtpm.log"
    log.unlink(missing_ok=True)
    put(log)
    try:
        said = tpm_host.virsh_fails("start", "guest")
        assert messages.LOG_NOT_REGULAR(f"{LOGS}/guest-swtpm.log") in said
        assert "top secret" not in said
        assert other.owner() == "root"
        tpm_host.wait_for_none("swtpm")
    finally:
        shutil.rmtree(log) if put is put_directory else log.unlink()
        other.unlink()
    tpm_host.virsh("start", "guest")


def guest_that_ran(host):
    """A guest with a TPM that libvirt has made for it, and the directory of that."""
    guest = host.define_guest()
    guest.start()
    host.virsh("destroy", "guest")
    return guest, host.path(f"{IMPLICIT}/{guest.uuid}/tpm2")


def test_files_of_a_state_are_no_links(host):
    """Root gives the files of a TPM's directory to swtpm's user, and nothing else."""
    _, state = guest_that_ran(host)
    other = host.path("/var/lib/libvirt/other")
    other.write_text("")
    (state / "link").symlink_to(other)
    (state / "TMP").write_text("")
    host.virsh("start", "guest")
    assert other.owner() == "root"
    assert (state / "TMP").owner() == "tss"


def test_file_of_a_state_that_is_replaced(host):
    """It becomes another name of somebody else's file after it was looked at, and before it
    gets its owner."""
    guest, state = guest_that_ran(host)
    other = host.path("/var/lib/libvirt/swtpm/other")
    other.write_text("")
    (state / "TMP").write_text("")
    with Preload(host, [state / "TMP", state], "virtqemud") as preload:
        preload.arm(("chown",), stop=1)
        start = Deed(guest.start_paused)
        wait_for("it is about to change the owner", lambda: preload.control.stopped, every=0.01, timeout=60)
        (state / "TMP").rename(state.parent / "TMP")
        os.link(other, state / "TMP")
        preload.control.go = 1
        assert start.ended(60)
        assert "fchownat" in str(preload.disarm()[0])
    assert other.owner() == "root"
    assert (state.parent / "TMP").owner() == "tss"


def wrong_passphrase(host):
    """A guest that cannot start, because the volume's passphrase is another by now."""
    secret = host.define_secret("open sesame", "tpm-key")
    host.create_volume("one", encryption="vtpm", secret=secret)
    host.set_secret(secret, "open barley")
    return host.define_guest(tpm=xmls.tpm_volume("one"))


@pytest.mark.parametrize("happens", ["truncated", "rotated"])
def test_reason_survives_what_happens_to_the_log(tpm_host, happens):
    """The log has lines of before, and is truncated or renamed while swtpm starts."""
    wrong_passphrase(tpm_host)
    log = tpm_host.path(f"{LOGS}/guest-swtpm.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("earlier\n" * 4000)
    with guests_swtpm_after(tpm_host, f": > {log}" if happens == "truncated" else f"mv {log} {log}.1"):
        said = tpm_host.virsh_fails("start", "guest")
    assert messages.WRONG_PASSPHRASE("one", "tpm") in said


@contextlib.contextmanager
def guests_swtpm_after(host, script):
    """With a swtpm that is run for a guest after a piece of shell."""
    try:
        with host.swtpm_after(f'case "$*" in *--ctrl*) {script};; esac'):
            host.daemon("restart", "virtqemud")
            yield
    finally:
        host.daemon("restart", "virtqemud")


def test_slow_swtpm(tpm_host):
    """It takes four seconds until there is a socket."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with guests_swtpm_after(tpm_host, "sleep 4"):
        tpm_host.virsh("start", "guest")
        assert tpm_host.virsh("domstate", "guest") == "running"


def test_log_is_named_where_swtpm_says_nothing(tpm_host):
    tpm_host.define_guest()
    with guests_swtpm_after(tpm_host, "exit 1"):
        assert f"{LOGS}/guest-swtpm.log" in tpm_host.virsh_fails("start", "guest")


# Processes

def test_pid_file_is_not_trusted(tpm_host):
    """QEMU's user can write any number into it, and lock it."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    swtpm = guest.pid("swtpm")
    pidfile = next(tpm_host.path("/run/libvirt/qemu/swtpm").glob("*-guest-swtpm.pid"))
    with subprocess.Popen(["sleep", "1000"]) as victim:
        pidfile.unlink()
        forger = subprocess.Popen(
            ["python3", "-c", "import fcntl, sys, time\n"
             f"f = open('{pidfile}', 'w')\nf.write('{victim.pid}\\n')\nf.flush()\n"
             "fcntl.lockf(f, fcntl.LOCK_EX, 1, 0)\nprint('locked', flush=True)\ntime.sleep(1000)"],
            stdout=subprocess.PIPE, text=True)
        try:
            assert forger.stdout.readline() == "locked\n"
            tpm_host.virsh("destroy", "guest")
            assert victim.poll() is None
            tpm_host.wait_for_end(swtpm)
        finally:
            forger.kill()
            forger.communicate()
            victim.kill()


# Puts FIFOs where the next guests' swtpm has its pid file: where there is no file, or also in its place.
FIFOS = """
import contextlib, os, sys
print("puts", flush=True)
while True:
    for number in range(1, 100):
        path = f"/run/libvirt/qemu/swtpm/{number}-guest-swtpm.pid"
        with contextlib.suppress(OSError):
            os.mkfifo(path)
        if sys.argv[1] == "replace" and os.path.isfile(path):
            with contextlib.suppress(OSError):
                os.unlink(path)
                os.mkfifo(path)
"""


@pytest.mark.parametrize("how", ["put", "replace"])
def test_fifo_in_place_of_a_pid_file(tpm_host, how):
    """QEMU's user owns the directory. Nobody waits for ever for whoever opens the other end."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    folder = tpm_host.path("/run/libvirt/qemu/swtpm")
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(["python3", "-c", FIFOS, how], stdout=subprocess.PIPE, text=True) as forger:
        try:
            assert forger.stdout.readline() == "puts\n"
            for _ in range(5):
                start = Deed(lambda: tpm_host.run("virsh", "-q", "start", "guest", "--paused"))
                ended = start.ended(20)
                assert Deed(lambda: tpm_host.virsh("list", "--all")).ended(10), "nothing can be asked of the domains"
                assert ended, "the start does not end"
                tpm_host.run("virsh", "destroy", "guest")
                tpm_host.run("pkill", "swtpm")
        finally:
            forger.kill()
            forger.communicate()
            for fifo in filter(Path.is_fifo, folder.glob("*-guest-swtpm.pid")):
                # Whoever waits for it goes on.
                os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
                fifo.unlink()
    guest.start_paused()


def test_foreign_socket_in_place_of_swtpms(tpm_host):
    """Nobody asks whoever listens there to end."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start_paused()
    tpm_host.virsh("destroy", "guest")
    folder = tpm_host.path("/run/libvirt/qemu/swtpm")
    with contextlib.ExitStack() as stack:
        listeners = []
        for number in range(1, 300):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / f"{number}-guest-swtpm.sock"))
            listener.listen()
            listener.setblocking(False)
            listeners.append(listener)
        start = Deed(guest.start_paused)
        assert start.ended(10), "the start asks a stranger to end"
        assert guest.state() == "paused"
        for listener in listeners:
            with pytest.raises(BlockingIOError):
                listener.accept()
    for sock in folder.glob("*-guest-swtpm.sock"):
        if not sock.name.startswith(f"{tpm_host.virsh('domid', 'guest')}-"):
            sock.unlink()


@pytest.mark.parametrize("tpm", ["volume", "implicit"])
def test_guest_of_unknown_status_keeps_its_tpm(tpm_host, tpm):
    """Its status cannot be loaded, as after a downgrade: swtpm belongs to a QEMU that runs."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one") if tpm == "volume" else xmls.tpm_emulator())
    guest.start()
    swtpm, qemu = guest.pid("swtpm"), guest.pid("qemu")
    status = tpm_host.path("/run/libvirt/qemu/guest.xml")
    content = status.read_text()
    try:
        tpm_host.daemon("kill", "virtqemud")
        status.write_text(content.replace("<domstatus", "<domstatus unknown='<'"))
        tpm_host.daemon("start", "virtqemud")
        assert tpm_host.virsh("domstate", "guest") == "shut off"
        os.kill(swtpm, 0)
    finally:
        tpm_host.daemon("kill", "virtqemud")
        status.write_text(content)
        tpm_host.daemon("start", "virtqemud")
    assert tpm_host.virsh("domstate", "guest") == "running"
    assert guest.pid("swtpm") == swtpm and guest.pid("qemu") == qemu


def test_swtpm_without_a_guest_is_ended(tpm_host):
    """The daemon was killed when it had started swtpm, and QEMU not yet."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    until_killed = "while [ -e /proc/$(cat /run/libvirt/virtqemud.pid) ]; do sleep 0.05; done"
    with guests_swtpm_after(tpm_host, until_killed), \
            subprocess.Popen(["virsh", "-q", "start", "guest"], stderr=subprocess.DEVNULL):
        wait_for("swtpm starts", lambda: tpm_host.run("pgrep", "-f", "sh /usr/bin/swtpm .*--ctrl").stdout)
        tpm_host.daemon("kill", "virtqemud")
        swtpm = wait_for("swtpm runs", lambda: tpm_host.run("pgrep", "-f", "/real/swtpm ").stdout.strip())
        tpm_host.daemon("start", "virtqemud")
        tpm_host.wait_for_end(int(swtpm.split()[0]))
    guest.start()


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
        assert messages.NO_PERMISSION(f"{POOL}/one", "one", "tpm", errno=errno.EACCES) in said
        assert tpm_host.contents(IMPLICIT) == {}
    tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.run("chown", "root", path)
    tpm_host.virsh("start", "guest")
