"""What the tests of faults do, and how they judge the result: a Lab has volumes and the operations on
them, a View shows what can be seen of a volume, a Judge knows what may be seen after an operation."""

import collections
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import libvirt

import storm
import xmls
from host import wait_for
from storm import Client


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
