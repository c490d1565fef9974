"""Makes calls of a daemon fail, and runs another operation before a call.

Preload controls the calls (see preload.c). Lab has volumes, the operations on them, and checks the
result.
"""

import collections
import contextlib
import ctypes
import errno
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import libvirt

import storm
import xmls
from host import TOP, wait_for
from storm import Client

# Kinds of calls, in preload.c's order, and what each of them is made to fail with: first what a
# disk does that fails or is full, then what a call can say besides.
KINDS = {
    "open": [errno.EIO, errno.EMFILE],
    "write": [errno.ENOSPC, errno.EIO],
    "fsync": [errno.EIO],
    "rename": [errno.EIO, errno.EINVAL],
    "link": [errno.EIO, errno.EPERM],
    "unlink": [errno.EIO, errno.EROFS],
    "lock": [errno.ENOLCK, errno.EAGAIN],
    "memfd": [errno.ENOMEM],
    "truncate": [errno.EIO],
    "allocate": [errno.ENOSPC, errno.EOPNOTSUPP],
    "chown": [errno.EPERM],
    "chmod": [errno.EPERM],
    "fork": [errno.EAGAIN],
    "mkdir": [errno.ENOSPC],
    "read": [errno.EIO],
    "stat": [errno.EIO],
}
# The calls that storage most often fails at; the others cost time, and are for longer
# runs.
USUAL = ("open", "write", "fsync", "rename", "link", "unlink", "lock", "memfd", "truncate",
         "allocate", "chown", "chmod", "fork")
CALLS = 4096
# How long anything may take that nothing is in the way of.
PATIENCE = 180
FRAMES = 12


class Call(ctypes.Structure):
    """A call that was seen, as in preload.c."""

    _fields_ = [("kind", ctypes.c_uint32), ("error", ctypes.c_uint32),
                ("_name", ctypes.c_char * 16), ("_path", ctypes.c_char * 160),
                ("frames", ctypes.c_uint64 * FRAMES)]

    def __str__(self):
        return f"{os.fsdecode(self._name)}({os.fsdecode(self._path)})"

    @property
    def wanted(self):
        """The errnos to fail with."""
        return list(KINDS.values())[self.kind]


class Control(ctypes.Structure):
    """The memory shared with preload.c, where each field is explained."""

    _fields_ = [(name, ctypes.c_uint32) for name in
                ("pid", "counted", "seen", "fail", "lasting", "stop", "stopped", "go",
                 "delayed", "delay")] + [
                    ("errors", ctypes.c_uint32 * len(KINDS)), ("failed", ctypes.c_char * 16),
                    ("folders", ctypes.c_char * 160 * 3), ("calls", Call * CALLS)]


class Preload:
    """A daemon of a host, preloaded. A context manager."""

    def __init__(self, host, folders, name="virtstoraged"):
        self.host = host
        self.name = name
        self.folders = folders
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        library = f"{self._folder.name}/preload.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror",
                        "-fvisibility=hidden", "-o", library, TOP / "integration/preload.c"], check=True)
        path = f"{self._folder.name}/control"
        with open(path, "w+b") as file:
            file.truncate(ctypes.sizeof(Control))
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        for number, folder in enumerate(self.folders):
            self.control.folders[number].value = os.fsencode(folder)
        self._environment = {"LD_PRELOAD": library, "FAULTS_CONTROL": path}
        self.host.daemon("stop", self.name)
        self._start()
        return self

    def _start(self):
        with environment(**self._environment):
            self.host.daemon("start", self.name)

    def __exit__(self, *_):
        self.disarm()
        self.control.go = 1
        if self.host.run("pidof", self.name).returncode == 0:
            self.host.daemon("restart", self.name)
        self._folder.cleanup()

    def _own_pid(self):
        """The pid that the daemon has for itself: that of the innermost namespace."""
        return int(self.host.path(f"/run/libvirt/{self.name}.pid").read_text())

    def kill(self):
        """End the daemon at once, and start it again."""
        self.host.daemon("kill", self.name)
        self.disarm()
        self._start()

    def arm(self, kinds, fail=0, choice=0, stop=0, lasting=False):
        """Count calls of some kinds from now on; let one of them fail or wait: fail with the
        first of what it can fail with, or the next."""
        control = self.control
        control.pid = 0
        control.counted = mask(kinds)
        control.seen = control.stopped = control.go = 0
        control.failed = b""
        for kind, errors in enumerate(KINDS.values()):
            control.errors[kind] = errors[min(choice, len(errors) - 1)]
        control.fail, control.stop, control.lasting = fail, stop, lasting
        control.pid = self._own_pid()

    def is_reached(self, deed):
        """Wait until a deed is stopped before the call that arm() names, or has ended; returns
        whether it is stopped."""
        wait_for("it waits or has ended", lambda: self.control.stopped or not deed.is_alive(),
                 every=0.001, timeout=PATIENCE)
        return bool(self.control.stopped)

    def call(self, number):
        """A call that was seen; the first is 1."""
        return Call.from_buffer_copy(self.control.calls[number - 1])

    def disarm(self):
        """Let all calls be, but delays; returns the calls that were seen."""
        self.control.fail = self.control.stop = self.control.counted = 0
        return [self.call(number + 1) for number in range(min(self.control.seen, CALLS))]

    def delay(self, kinds, seconds):
        """Delay calls of some kinds from now on."""
        self.control.delayed = mask(kinds)
        self.control.delay = int(seconds * 1e6)
        self.control.pid = self._own_pid()

    def stack(self, call):
        """Where a call came from: functions, the innermost first."""
        maps = []
        for line in self.host.path(f"/proc/{self._own_pid()}/maps").read_text().splitlines():
            fields = line.split()
            if len(fields) > 5 and "x" in fields[1]:
                begin, end = (int(number, 16) for number in fields[0].split("-"))
                maps.append((begin, end, int(fields[2], 16), fields[5]))
        found = []
        for frame in filter(None, call.frames):
            for begin, end, offset, file in maps:
                if begin <= frame < end and "libvirt" in file:
                    done = subprocess.run(["addr2line", "-f", "-s", "-e", file, hex(frame - 1 - begin + offset)],
                                          capture_output=True, text=True, check=False)
                    found.append(" ".join(done.stdout.split()))
        return found


def mask(kinds):
    """One bit for each kind."""
    return sum(1 << list(KINDS).index(kind) for kind in kinds)


@contextlib.contextmanager
def environment(**values):
    """With these environment variables."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Deed(threading.Thread):
    """Something that is done while something else is looked at."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function = function
        self.error = None
        self.start()

    def run(self):
        try:
            self._function()
        except libvirt.libvirtError as error:
            self.error = error

    @property
    def done(self):
        """Whether it has ended well."""
        return not self.is_alive() and self.error is None

    def ended(self, seconds):
        """Whether it ends within so many seconds."""
        self.join(seconds)
        return not self.is_alive()


# What can be seen of a volume: a digest of its bytes, "" if it is blank; the identity uuid;
# fingerprints of its endorsement keys; whether it is encrypted. FRESH: new each time.
class State(collections.namedtuple("State", "content identity keys encrypted")):
    """... and its words, in short."""

    def __str__(self):
        keys = ",".join(key.removeprefix("sha256:")[:4] for key in self.keys) \
            if isinstance(self.keys, tuple) else self.keys
        return f"({self.content or 'blank'}, {(self.identity or '-')[:10]}, keys {keys or '-'}" \
            f"{', encrypted' if self.encrypted else ''})"


FRESH = "made newly"


def digest(content):
    """What stands for bytes in a State."""
    return hashlib.sha256(content).hexdigest()[:16] if content else ""


class View:
    """What a client of one host sees of the pool."""

    def __init__(self, host, secrets, folder, uri):
        self.host = host
        self.folder = folder
        self._connect = lambda: Client(secrets, uri)
        self.connect()

    def connect(self):
        """Connect to the daemon, once more if it was started anew."""
        self.client = self._connect()

    def refresh(self):
        """Refresh the pool. One whose refresh has failed is inactive, and is started again."""
        if not self.client.pool.isActive():
            self.client.pool.create()
        self.client.refresh()

    def look(self):
        """All volumes: name to State."""
        found = {}
        for name in self.client.names():
            xml = self.client.describe(name)
            content = Path(self.folder, name).read_bytes()
            found[name] = State(digest(content), xml.findtext("tpm/uuid"),
                                tuple(sorted(key.get("fingerprint")
                                             for key in xml.findall("tpm/endorsement"))),
                                xml.find("target/encryption") is not None)
            assert whole(content), f"{name} is not whole: {content[:64]}"
        return found


def whole(content):
    """Whether these are the bytes of a volume: blank, or state of which the whole blob is there."""
    if not content:
        return True
    if not content.startswith(b"nilmptws"):
        return False
    blob = storm.permanent_blob(content)
    return len(blob) > 10 and int.from_bytes(blob[6:10], "big") == len(blob)


class Lab:
    """Volumes of a tpm pool, and all that can be done to them."""

    # One letter tells the passphrase (see storm); what each volume is for is in base().
    def __init__(self, host, folder, secrets=None):
        self.host = host
        self.folder = Path(folder)
        self.saved = Path(tempfile.mkdtemp(dir="/dev/shm"))
        host.define_pool(target=folder)
        self.secrets = secrets or {
            letter: passphrase and host.define_secret(passphrase, f"tpm-{letter}")
            for letter, passphrase in storm.PASSPHRASES.items()}
        self.contents = {}

    def close(self):
        """Remove what the host's clean_up does not."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.saved, ignore_errors=True)

    def base(self, client):
        """Make the volumes that each operation finds, and keep their files."""
        client.create("c-base")
        client.create("c-other")
        client.copy("c-base", "c0")
        client.copy("c-base", "c-blank")
        client.wipe("c-blank")
        client.copy("c-base", "e0")
        client.copy("c-base", "e-again")
        client.create("e-other")
        for path in self.folder.iterdir():
            if not path.name.endswith(".tpm.xml"):
                self.contents[path.name] = path.read_bytes()
        shutil.copytree(self.folder, self.saved / "pool")
        self.imports = Path(tempfile.mkdtemp(dir=self.saved))
        (self.imports / "linear").write_bytes(self.contents["c-other"])
        self.host.define_pool("imports", "dir", str(self.imports))
        self.run = self.listing("/run/libvirt")

    def listing(self, folder):
        """The names of all that is below a folder, but of sockets."""
        return {str(path) for path in self.host.path(folder).rglob("*") if not path.is_socket()}

    def reset(self):
        """Put back the files as they were."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in (self.saved / "pool").iterdir():
            copy = self.folder / path.name
            shutil.copy2(path, copy)
            os.chown(copy, path.stat().st_uid, path.stat().st_gid)

    # What can be done: each takes a Client

    def forgotten(self):
        """A temporary that a daemon has left that was killed."""
        (self.folder / ".c0.AbCdEf.tmptpm").write_bytes(self.contents["c0"])

    def create_blank(self, client, name):
        """A volume that a state is to be brought to."""
        client.pool.createXML(xmls.volume(name, tpm="<tpm manufacture='no'/>"))

    def import_file(self, client, name):
        """Import a file of another pool."""
        source = client.connection.storagePoolLookupByName("imports").storageVolLookupByName("linear")
        client.pool.createXMLFrom(client._xml(name), source)

    def scrub(self, client, name):
        """Wipe by a program."""
        client._volume(name).wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_RANDOM)


# An operation: what it is called, the volume that it is about, what is done, and what is
# prepared.
Operation = collections.namedtuple("Operation", "name volume function prepare", defaults=[None])

OPERATIONS = [
    Operation("create", "c1", lambda lab, client: client.create("c1")),
    Operation("create-encrypted", "e1", lambda lab, client: client.create("e1")),
    Operation("create-blank", "c1", lambda lab, client: lab.create_blank(client, "c1")),
    Operation("copy", "c1", lambda lab, client: client.copy("c0", "c1")),
    Operation("encrypt", "e1", lambda lab, client: client.copy("c0", "e1")),
    Operation("rekey", "f1", lambda lab, client: client.copy("e0", "f1")),
    Operation("decrypt", "c1", lambda lab, client: client.copy("e0", "c1")),
    Operation("import", "c1", lambda lab, client: lab.import_file(client, "c1")),
    Operation("upload", "c0", lambda lab, client: client.upload("c0", lab.contents["c-other"])),
    Operation("upload-blank", "c-blank",
              lambda lab, client: client.upload("c-blank", lab.contents["c-base"])),
    Operation("upload-encrypted", "e0",
              lambda lab, client: client.upload("e0", lab.contents["e-again"])),
    Operation("download", "c0", lambda lab, client: client.download("c0")),
    Operation("wipe", "c0", lambda lab, client: client.wipe("c0")),
    Operation("wipe-encrypted", "e0", lambda lab, client: client.wipe("e0")),
    Operation("scrub", "c0", lambda lab, client: lab.scrub(client, "c0")),
    Operation("delete", "c0", lambda lab, client: client.delete("c0")),
    Operation("delete-zeroed", "c0", lambda lab, client: client.delete_zeroed("c0")),
    Operation("refresh", None, lambda lab, client: client.refresh(), Lab.forgotten),
]
# Those after which a failure may have left a volume that is wiped or gone, if nothing of what it
# held is left unseen.
ERASING = ("wipe", "wipe-encrypted", "scrub", "delete-zeroed")


def same_or_fresh(states):
    """What an operation makes, from what it has made several times, as a State in which FRESH
    stands for what is new each time."""
    first = states[0]
    if first is None:
        assert not any(states), states
        return None
    return State(*(values[0] if len(set(values)) == 1 else FRESH for values in zip(*states)))


def fits(expected, now, known):
    """Whether a State is the expected one; what is FRESH in it must be nobody's."""
    if expected is None or now is None:
        return expected is now
    for name, value, other in zip(State._fields, expected, now):
        if value == FRESH:
            if not other or other in {getattr(state, name) for state in known}:
                return False
        elif value != other:
            return False
    return True


class Judge:
    """Looks at what an operation has left."""

    def __init__(self, lab, view):
        self.lab = lab
        self.view = view
        lab.reset()
        view.refresh()
        self.old = view.look()

    def learn(self, operation, times=2):
        """What an operation makes of its volume when nothing is in its way."""
        states = []
        for _ in range(times):
            self.set_up(operation)
            operation.function(self.lab, self.view.client)
            self.view.refresh()
            states.append(self.view.look().get(operation.volume))
        return same_or_fresh(states)

    def set_up(self, operation):
        """Before an operation."""
        self.lab.reset()
        if operation.prepare:
            operation.prepare(self.lab)
        self.view.refresh()

    def others(self, now, volume):
        """What has become of the volumes that an operation is not about, in words."""
        return [f"{name} was {self.old.get(name)}, is {now.get(name)}"
                for name in sorted(self.old.keys() | now.keys())
                if name != volume and self.old.get(name) != now.get(name)]

    def left(self, now, volume):
        """What is left over, in words."""
        found = []
        names = {path.name for path in self.lab.folder.iterdir()}
        sidecars = {name for name in names if name.endswith(".tpm.xml")}
        found += [f"left in the pool: {name}" for name in names - sidecars - now.keys()]
        # A sidecar is never swept: it may be the only copy of an identity.
        found += [f"sidecar of no volume: {name}" for name in sidecars
                  if name.removesuffix(".tpm.xml") not in now.keys() | {volume}]
        found += [f"no sidecar: {name}" for name in now if f"{name}.tpm.xml" not in sidecars]
        found += [f"locked: {name}" for name in names if self.lab.host.is_locked(self.lab.folder / name)]
        found += [f"left: {name}" for name in self.lab.listing("/run/libvirt") - self.lab.run]
        try:
            wait_for("no swtpm", lambda: not storm.running(self.lab.host), timeout=5, every=0.02)
        except AssertionError:
            found.append(f"running: {storm.running(self.lab.host)}")
        return found


class Witness:
    """Has the file of a volume open, and so sees what becomes of its bytes."""

    def __init__(self, path):
        self._file = open(path, "rb") if path and path.exists() else None
        self._before = self._read()

    def _read(self):
        if not self._file:
            return b""
        self._file.seek(0)
        return self._file.read()

    def lost(self):
        """Whether what the volume held is still on the disk, without a name."""
        return bool(self._file) and os.fstat(self._file.fileno()).st_nlink == 0 \
            and self._before != b"" and self._blob() in self._read()

    def _blob(self):
        """Some bytes that are those of this state."""
        return storm.permanent_blob(self._before)[-256:]

    def close(self):
        """Let the file go."""
        if self._file:
            self._file.close()


class Actor:
    """What another host does meanwhile to the volume of an operation."""

    def __init__(self, do, undo=None):
        self.do = do
        self.undo = undo or (lambda lab, host, name: [])


def start_or_fail(guest):
    """Start a guest; a failure is an error like that of any other call."""
    try:
        guest.start_paused()
    except AssertionError as error:
        raise libvirt.libvirtError(str(error)) from error


def start(_, view, name):
    """Start a guest whose TPM is on a volume."""
    start_or_fail(view.host.define_guest("actor", xmls.tpm_volume(name)))


def stop(lab, host, name):
    """Stop it, if it runs; returns what was wrong."""
    if host.virsh("domstate", "actor") == "shut off":
        return []
    wrong = []
    path = lab.folder / name
    if not path.exists() or not host.is_locked(path):
        wrong = ["a guest runs on a file that is no more the volume"]
    host.virsh("destroy", "actor")
    return wrong


# By what they are called: each takes a Lab, the other host's View, and the volume's name.
ACTORS = {
    "refresh": Actor(lambda lab, view, name: view.client.refresh()),
    "create": Actor(lambda lab, view, name: view.client.create(name)),
    "delete": Actor(lambda lab, view, name: view.client.delete(name)),
    "wipe": Actor(lambda lab, view, name: view.client.wipe(name)),
    "upload": Actor(lambda lab, view, name: view.client.upload(name, lab.contents[f"{name[0]}-other"])),
    "replace": Actor(lambda lab, view, name: (view.client.delete(name), view.client.create(name))),
    "start": Actor(start, stop),
}
# Operations that change no volume.
HARMLESS = ("download", "refresh")
# What is tried where there is little time: beside operations that make a volume, beside those
# that change one, and beside which operations.
MAKING = ("refresh", "create", "delete")
CHANGING = ("refresh", "delete", "upload", "replace")
OPENED = ("create-blank", "copy", "upload", "upload-blank", "wipe", "delete", "delete-zeroed")
# Kinds of calls before which it matters what another does.
NAMING = ("open", "fsync", "rename", "link", "unlink", "lock")
# Kinds of calls before which it matters that a daemon is killed: those that change a directory,
# and what comes after them.
LASTING = ("fsync", "rename", "link", "unlink")
