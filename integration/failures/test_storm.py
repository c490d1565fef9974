"""A daemon that is killed during an operation, and one with many clients at once.

Afterwards each volume is whole, as before or as it was to become, and nothing is left over.
"""

import collections
import concurrent.futures
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import libvirt
import pytest

import messages
import storm
import xmls
from expected import Output
from faults import digest
from preload import Deed, Preload
from host import POOL, RUN, wait_for
from storm import GARBAGE, Client

# Kill

OPERATIONS = 200
SEED = 7
# What is done, in equal parts. Where nothing is left to be done to, a volume is made; where
# there are enough, one is deleted.
KINDS = ("create", "copy", "convert", "upload_same", "upload_other", "upload_garbage",
         "wipe", "delete", "delete_zeroed")
NAMES = {f"{letter}{number}" for letter in "cef" for number in range(3)}

# What can be seen of a volume: a digest of its bytes, "" if it is blank, the identity uuid, and
# digests of its certificates.
State = collections.namedtuple("State", "content identity certificates")


class Killer:
    """Does operations on volumes, kills the daemon meanwhile, and judges what is there then."""

    def __init__(self, host, tmp_path):
        self.host = host
        self.tmp_path = tmp_path
        self.random = random.Random(SEED)
        self.secrets = storm.prepare(host)
        self.client = Client(self.secrets)
        self.contents = {}
        self.volumes = self.look()
        # Which TPM some bytes are: that of the volume that they were first seen in.
        self.tpms = {}
        # By TPM: its certificates.
        self.certificates = {}
        for state in self.volumes.values():
            self.learn(state)
        # How long each kind of operation takes, in seconds; the machine may become slower.
        self.takes = dict.fromkeys(KINDS, 0.2)
        self.counts = collections.Counter()
        # Kinds and letters.
        self.done = set()

    def learn(self, state):
        """Note which TPM a volume's bytes are."""
        if state.content:
            tpm = self.tpms.setdefault(state.content, state.identity)
            self.certificates.setdefault(tpm, state.certificates)

    def pure(self, name):
        """Whether a volume holds the TPM that it says."""
        state = self.volumes[name]
        return bool(state.content) and self.tpms[state.content] == state.identity

    def look(self):
        """All volumes, as they are now."""
        found = {}
        for name in self.client.names():
            tpm = self.client.describe(name).find("tpm")
            content = self.host.path(f"{POOL}/{name}").read_bytes()
            self.contents[digest(content)] = content
            found[name] = State(digest(content), tpm.findtext("uuid"),
                                {digest(key.text.encode()) for key in tpm.findall("endorsement")})
        return found

    def plan(self, kind):
        """What is to be done: kind, volume, function, and what tells whether a State is right
        after it."""
        there = sorted(NAMES & self.volumes.keys())
        free = sorted(NAMES - self.volumes.keys())
        if not there or (kind in ("create", "copy", "convert") and not free):
            kind = "delete" if there else "create"
        name = self.random.choice(free if kind in ("create", "copy", "convert") else there)
        return kind, name, *getattr(self, f"plan_{kind}")(name)

    def plan_create(self, name):
        known = {state.identity for state in self.volumes.values()}
        return (lambda: self.client.create(name),
                lambda now: now and now.content and len(now.certificates) == 2
                and now.identity not in known | {None})

    def plan_copy(self, name, other=False):
        source = self.random.choice([volume for volume in sorted(self.volumes)
                                     if self.pure(volume) and (volume[0] != name[0]) == other])
        state = self.volumes[source]
        return (lambda: self.client.copy(source, name),
                lambda now: now and (now.content != state.content) == other
                and now.identity == state.identity and now.certificates >= state.certificates)

    def plan_convert(self, name):
        return self.plan_copy(name, other=True)

    def plan_upload(self, name, same):
        before = self.volumes[name]
        # Only what this volume's passphrase opens.
        fitting = [state.content for volume, state in sorted(self.volumes.items())
                   if volume[0] == name[0] and state.content]
        chosen = [content for content in fitting
                  if (self.tpms[content] == before.identity) == same] or fitting
        content = self.random.choice(chosen)

        def right(now):
            if now is None or now.content != content or now.certificates != self.certificates[self.tpms[content]]:
                return False
            # A blank volume is for the TPM that is brought to it; another has an identity of its own.
            if not before.content or self.tpms[before.content] == self.tpms[content]:
                return now.identity == before.identity
            return now.identity != before.identity

        return lambda: self.client.upload(name, self.contents[content]), right

    def plan_upload_same(self, name):
        return self.plan_upload(name, True)

    def plan_upload_other(self, name):
        return self.plan_upload(name, False)

    def plan_upload_garbage(self, name):
        return lambda: self.client.upload(name, GARBAGE), self.volumes[name].__eq__

    def plan_wipe(self, name):
        before = self.volumes[name]
        return (lambda: self.client.wipe(name),
                lambda now: now and now.content == ""
                # else an interrupted upload has left the sidecar of another TPM
                and (before.identity is None
                     or now.identity == before.identity
                     and not now.certificates))

    def plan_delete(self, name):
        return lambda: self.client.delete(name), lambda now: now is None

    def plan_delete_zeroed(self, name):
        return lambda: self.client.delete_zeroed(name), lambda now: now is None

    def run(self, kind, function):
        """Do it, and kill the daemon at some moment; returns the error."""
        errors = []

        def do():
            begin = time.monotonic()
            try:
                function()
                self.takes[kind] = (self.takes[kind] + time.monotonic() - begin) / 2
            except libvirt.libvirtError as error:
                errors.append(error)

        pid = int(self.host.path("/run/libvirt/virtstoraged.pid").read_text())
        moment = self.random.uniform(0, 1.5 * self.takes[kind])
        thread = threading.Thread(target=do)
        thread.start()
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        thread.join()
        self.host.wait_for_end(pid)
        return errors[0] if errors else None

    def check_clear(self, name):
        """Only what belongs to a clear volume is clear, now that the daemon is dead; what swtpm was
        about to open is in memory, in a directory that nobody else may enter."""
        for path in self.host.clear_files(POOL, "/run/libvirt", "/var/log/libvirt",
                                          *self.host.path("/tmp").glob("swtpm*")):
            mine = path.name.startswith((name, f".{name}.")) or str(path.parent).startswith(f"{RUN}/tpm-setup.")
            opened = str(path.parent).startswith(f"{RUN}/tpm-state.")
            assert path.name.startswith("c") or opened or (mine and name.startswith("c")), path

    def step(self, kind):
        """One operation."""
        kind, name, function, right = self.plan(kind)
        before = self.volumes.get(name)
        error = self.run(kind, function)
        self.check_clear(name)

        self.host.daemon("start", "virtstoraged")
        self.client = Client(self.secrets)
        self.client.refresh()
        now = self.look()
        storm.nothing_left_over(self.host, now.keys(), orphans=NAMES)

        what = f"{kind} {name}: {error}\nbefore {before}\nnow {now.get(name)}"
        others = {volume: state for volume, state in now.items() if volume != name}
        assert others == {volume: state for volume, state in self.volumes.items() if volume != name}, what
        changed = now.get(name) != before
        self.check_outcome(kind, name, error, changed, right(now.get(name)), what)
        self.volumes = now
        if changed and name in now and now[name].content:
            if kind in ("create", "copy", "convert"):
                self.learn(now[name])
            storm.opens(self.host, name[0], self.contents[now[name].content], self.tmp_path)

    def check_outcome(self, kind, name, error, changed, right, what):
        """Whether what is there now is what was there before, or what was to be."""
        if error is None:
            assert right, what
            self.counts["done"] += 1
            self.done.add((kind, name[0]))
        elif error.get_error_domain() == libvirt.VIR_FROM_RPC:
            assert right or not changed, what
            self.counts["killed, " + ("changed" if changed else "as before")] += 1
            self.takes[kind] *= 1.2
        else:
            assert kind.startswith("upload"), what
            assert any(message(name, "tpm") in Output(error)
                       for message in (messages.UPLOAD_FOREIGN, messages.UPLOAD_OTHER_TPM)), what
            assert not changed, what
            self.counts["refused"] += 1


def test_killed_at_random_moments(host, tmp_path):
    """kill -9 of virtstoraged: each volume is what it was or what it was to be, nothing is left
    over, and nothing of an encrypted volume is clear."""
    killer = Killer(host, tmp_path)
    deck = [KINDS[number % len(KINDS)] for number in range(OPERATIONS)]
    killer.random.shuffle(deck)
    for kind in deck:
        killer.step(kind)
    print(f"seed {SEED}: {dict(killer.counts)}")
    assert {kind for kind, _ in killer.done} == set(KINDS) - {"upload_garbage"}, killer.done
    assert {letter for _, letter in killer.done} == set("cef"), killer.done
    assert killer.counts["done"] >= OPERATIONS / 8, killer.counts
    assert killer.counts["killed, as before"] >= OPERATIONS / 8, killer.counts
    assert killer.counts["killed, changed"] >= OPERATIONS / 40, killer.counts


# What goes on for ever when a volume is created, by the program that does: it makes files in the
# daemon's folder, or only runs.
ENDLESS = {
    "swtpm_setup": """
for argument; do case $argument in file://*) folder=${argument#file://};; esac; done
[ "$folder" ] || exec "$real" "$@"
while :; do date > "${folder%/state}/$(date +%N)"; done""",
    "swtpm_localca": "while :; do sleep 0.1; done",
}


@pytest.mark.parametrize("program", ENDLESS)
def test_setup_outlives_the_daemon(host, program):
    """What swtpm_setup is doing for a daemon that is killed ends when the next one starts, and leaves
    nothing."""
    host.define_pool()
    with host.in_place(program, ENDLESS[program]):
        create = Deed(lambda: libvirt.open("storage:///system").storagePoolLookupByName("tpm")
                      .createXML(xmls.volume("guest1")))
        wait_for(f"{program} runs", lambda: list(host.path(RUN).glob("tpm-setup.*/*")) and
                 host.run("pgrep", program).stdout)
        host.daemon("kill", "virtstoraged")
        assert create.ended(60)
        host.daemon("start", "virtstoraged")
        assert not host.virsh("vol-list", "tpm")
        storm.nothing_left_over(host, set())


@pytest.mark.parametrize("kind", ["link", "file"])
def test_leftover_that_is_no_directory(host, tmp_path, kind):
    """A daemon that starts removes directories that another one has left: not what a link leads to, nor
    anything else of such a name."""
    inside = tmp_path / "inside"
    inside.touch()
    left = host.path(RUN) / "tpm-setup.left"
    if kind == "link":
        left.symlink_to(tmp_path)
    else:
        left.touch()
    try:
        host.daemon("kill", "virtstoraged")
        host.daemon("start", "virtstoraged")
        host.virsh("pool-list")  # by then it has
        assert inside.exists() and os.path.lexists(left)
    finally:
        left.unlink()


def test_process_that_looks_at_a_leftover(host):
    """A daemon that starts ends what another one has run, and nothing else that names the directory."""
    left = host.path(RUN) / "tpm-setup.left"
    left.mkdir()
    with subprocess.Popen(["sh", "-c", "sleep 100; :", f"{left}/state"]) as looks:
        host.daemon("kill", "virtstoraged")
        host.daemon("start", "virtstoraged")
        host.virsh("pool-list")  # by then it has
        assert looks.poll() is None and not left.exists()
        looks.kill()


# Many clients

CLIENTS = 8


def descriptors(pid):
    """What a process has open, but for a sanitizer's reports."""
    opened = collections.Counter()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            opened[re.sub("[0-9]+", "N", os.readlink(f"/proc/{pid}/fd/{descriptor}"))] += 1
        except FileNotFoundError:
            pass
    return collections.Counter({name: times for name, times in opened.items() if "/sanitizer." not in name})


def storage_pid(host):
    """The process of a host's virtstoraged, as the host sees it."""
    return int(host.path("/run/libvirt/virtstoraged.pid").read_text())


@pytest.fixture
def sanitizers(host, pytestconfig):
    """Where the daemons have sanitizers or run in Helgrind, these report nothing of our files,
    not even when the daemons end."""
    if pytestconfig.getoption("helgrind"):
        program = os.readlink(f"/proc/{host.run('pidof', 'virtstoraged').stdout.strip()}/exe")
        host.daemon("stop", "virtstoraged")
        done = host.run("valgrind", "--tool=helgrind", "--fair-sched=yes", "-q",
                        "--log-file=/var/log/libvirt/sanitizer.%p", program,
                        "--daemon", "--pid-file", "/run/libvirt/virtstoraged.pid")
        assert done.returncode == 0, done.stderr
    yield
    host.daemon("restart", "virtstoraged", "virtqemud")
    reports = sorted(host.path("/var/log/libvirt").glob("sanitizer.*"))
    for report in reports:
        if pytestconfig.getoption("reports"):
            shutil.copy(report, pytestconfig.getoption("reports"))
    ours = [block for report in reports for block in storm.reports(report.read_text(errors="replace"))]
    assert not ours, "\n".join(ours)


# Where a crowd works: its hosts, and the pool's directory.
Scene = collections.namedtuple("Scene", "hosts folder")


@pytest.fixture
def crowd(host, request, pytestconfig):
    """A Crowd and its Scene: one host, or two that have the pool's directory in common; with the
    daemons' locks and fsyncs delayed where that is asked for."""
    hosts = [host]
    if pytestconfig.getoption("hosts") == 1:
        secrets = storm.prepare(host)
        uris = ["storage:///system", "qemu:///system"]
    else:
        folder = request.getfixturevalue("common_folder")
        hosts.append(request.getfixturevalue("other_host"))
        secrets = storm.prepare(host, folder)
        storm.share(secrets, folder, hosts[1])
        uris = ["storage:///system", hosts[1].storage_uri, "qemu:///system", hosts[1].uri]
    scene = Scene(hosts, storm.pool_folder(host))
    with contextlib.ExitStack() as stack:
        for one in hosts if pytestconfig.getoption("delay") else ():
            preload = stack.enter_context(Preload(one, [scene.folder]))
            preload.delay(("lock", "fsync"), pytestconfig.getoption("delay") / 1000)
        yield storm.Crowd(secrets, pytestconfig.getoption("seconds"), SEED, uris), scene


@pytest.mark.alone
@pytest.mark.usefixtures("sanitizers")
def test_many_clients(host, crowd, tmp_path):
    """Each gets what it asked for or an error that follows from what another did; nothing is left
    over, every volume is a whole TPM or blank, and holds what the last who changed it has left."""
    crowd, (hosts, folder) = crowd
    pids = [storage_pid(one) for one in hosts]
    before = descriptors(pids[0])
    ends = collections.Counter()
    events = []
    with concurrent.futures.ProcessPoolExecutor(CLIENTS) as pool:
        for some, done in pool.map(crowd.work, range(CLIENTS)):
            ends += some
            events += done
    for (kind, end), times in sorted(ends.items()):
        print(f"{kind}: {times} times {end}")

    assert [storage_pid(one) for one in hosts] == pids
    client = Client(crowd.secrets)
    client.refresh()
    storm.nothing_left_over(host, client.names(), folder=folder)
    history = storm.History(events)
    assert not history.wrong(), history.wrong()
    now = time.monotonic()
    for name in client.names() | set(crowd.NAMES):
        path = host.path(folder) / name
        content = path.read_bytes() if path.exists() else None
        found = storm.NONE if content is None else storm.value(content)
        assert name in storm.BASES.values() or history.explains(name, found, now, now), \
            (name, found, history.last(name, now, now))
        if content is None:
            continue
        assert storm.whole(content), name
        assert host.identity(name) is not None, name
        if content:
            storm.opens(host, name[0], content, tmp_path)
    known = {"done", "garbage", *map(str, crowd.BUSY + crowd.OTHERS)}
    assert {end for _, end in ends} <= known, "\n".join({end for _, end in ends} - known)
    # There may always be something that a refresh has to wait for.
    assert all(ends[kind, "done"] for kind, _ in ends if kind != "refresh"), "something was never done"

    del client
    # A connection of an earlier test's may have been closed meanwhile.
    wait_for(f"no more is open than {before}", lambda: descriptors(pids[0]) <= before, timeout=30)
