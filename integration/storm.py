"""Operations of clients on the volumes of a tpm pool by the Python binding, one after the other or at
once, and checks of the result."""

import collections
import hashlib
import io
import random
import re
import time
import xml.etree.ElementTree as etree

import libvirt

import messages
import xmls
from expected import ANY, Output, error
from host import POOL, RUN, permanent_blob, wait_for

# The first letter of a volume's name tells the passphrase that its state has.
PASSPHRASES = {"c": None, "e": "first passphrase", "f": "second passphrase"}
# One for each letter, all the same TPM, to copy from; they are always there.
BASES = {letter: f"{letter}-base" for letter in PASSPHRASES}
GARBAGE = b"x" * 5000

# Errors are the tests' to assess, not to be printed.
libvirt.registerErrorHandler(lambda context, error: None, None)


class Client:
    """A connection to a daemon; each method is one call of a user."""

    def __init__(self, secrets, uri="storage:///system"):
        self.secrets = secrets
        self.connection = libvirt.open(uri)
        self.pool = self.connection.storagePoolLookupByName("tpm")

    def _volume(self, name):
        return self.pool.storageVolLookupByName(name)

    def _xml(self, name):
        secret = self.secrets[name[0]]
        return xmls.volume(name, encryption="vtpm" if secret else None, secret=secret)

    def create(self, name):
        """A new TPM."""
        self.pool.createXML(self._xml(name))

    def copy(self, source, name):
        """Another volume of the same TPM, under the passphrase that name asks for."""
        self.pool.createXMLFrom(self._xml(name), self._volume(source))

    def upload(self, name, content):
        """Upload bytes."""
        stream = self.connection.newStream()
        self._volume(name).upload(stream, 0, len(content))
        stream.sendAll(lambda stream, size, file: file.read(size), io.BytesIO(content))
        stream.finish()

    def download(self, name):
        """The bytes of a volume."""
        stream = self.connection.newStream()
        content = bytearray()
        self._volume(name).download(stream, 0, 0)
        stream.recvAll(lambda stream, data, content: content.extend(data), content)
        stream.finish()
        return bytes(content)

    def wipe(self, name):
        """Make a volume blank."""
        self._volume(name).wipe()

    def delete(self, name):
        """Delete a volume."""
        self._volume(name).delete()

    def delete_zeroed(self, name):
        """Delete a volume, and overwrite what it held."""
        self._volume(name).delete(libvirt.VIR_STORAGE_VOL_DELETE_ZEROED)

    def describe(self, name):
        """A volume's XML, parsed."""
        return etree.fromstring(self._volume(name).XMLDesc())

    def refresh(self):
        """Refresh the pool."""
        self.pool.refresh()

    def names(self):
        """The names of all volumes."""
        return {volume.name() for volume in self.pool.listAllVolumes()}


def prepare(host, folder=None):
    """Make pool, secrets and BASES; returns the secrets by letter."""
    host.define_pool(target=folder)
    host.virsh("pool-autostart", "tpm")
    secrets = {letter: passphrase and host.define_secret(passphrase, f"tpm-{letter}")
               for letter, passphrase in PASSPHRASES.items()}
    client = Client(secrets)
    client.create(BASES["c"])
    client.copy(BASES["c"], BASES["e"])
    client.copy(BASES["c"], BASES["f"])
    return secrets


def share(secrets, folder, other):
    """Give another host a pool with the same directory, and the same secrets."""
    other.define_pool(target=folder)
    for letter, secret in secrets.items():
        if secret:
            other.virsh("secret-define", "/dev/stdin", input=xmls.secret(secret, f"tpm-{letter}"))
            other.set_secret(secret, PASSPHRASES[letter])


def pool_folder(host):
    """Where the pool is."""
    return etree.fromstring(host.virsh("pool-dumpxml", "tpm")).findtext("target/path")


def opens(host, letter, content, tmp_path):
    """swtpm takes these bytes, with the passphrase of a letter, as a TPM."""
    (tmp_path / "state").write_bytes(content)
    host.opens_in_swtpm(tmp_path / "state", PASSPHRASES[letter])


def whole(content):
    """Whether these are the bytes of a volume: blank, or state to its end."""
    if not content:
        return True
    blob = permanent_blob(content)
    return content.startswith(b"nilmptws") and int.from_bytes(blob[6:10], "big") == len(blob)


def value(content):
    """What stands for the bytes of a volume in an Event."""
    return hashlib.sha256(content).hexdigest() if content else BLANK


def running(host):
    """The programs that make TPMs or open their state."""
    return host.run("pgrep", "-a", "^swtpm").stdout


def nothing_left_over(host, names, orphans=(), folder=POOL):
    """Pool and run folder hold the volumes and nothing else; orphans are volumes that may have
    left a sidecar."""
    try:
        wait_for("no swtpm and no swtpm_setup runs", lambda: not running(host))
    except AssertionError:
        print(host.run("ps", "-eo", "pid,ppid,stat,wchan:30,etimes,args").stdout)
        raise
    files = {file.name for file in host.path(folder).iterdir()}
    assert {name for name in files if not name.endswith(".tpm.xml")} == names
    sidecars = {name.removesuffix(".tpm.xml") for name in files if name.endswith(".tpm.xml")}
    assert names <= sidecars <= names | set(orphans)
    assert not list(host.path(RUN).glob("tpm-setup.*"))


# What a client has done to a volume that changes it, or what it has read: when that began and
# ended, by a clock that all have in common, and what the volume held then: its bytes, BLANK,
# NONE if it was deleted, or NEW where only the volume itself can tell.
Event = collections.namedtuple("Event", "begin end kind name value")
BLANK, NONE, NEW = "blank", "none", "new"


class History:
    """What clients say that they have done and read, each of it within some time."""

    def __init__(self, events):
        self._writes = collections.defaultdict(list)
        self._reads = []
        for event in events:
            if event.kind == "download":
                self._reads.append(event)
            else:
                self._writes[event.name].append(event)

    def last(self, name, begin, end):
        """Those of a volume's changes of which nothing shows that another came after them, for
        who looks at it within some time."""
        writes = [event for event in self._writes[name] if event.begin < end]
        over = [event.begin for event in writes if event.end < begin]
        return [event for event in writes if not over or event.end >= max(over)]

    def explains(self, name, value, begin, end):
        """Whether one of the changes of a volume has left what is seen within some time."""
        last = self.last(name, begin, end)
        if not last:
            return value == NONE
        return any(event.value == value or event.value == NEW and value not in (BLANK, NONE)
                   for event in last)

    def wrong(self):
        """What was read that nobody has left there."""
        return [event for event in self._reads
                if not self.explains(event.name, event.value, event.begin, event.end)]


class Crowd:
    """Clients that do what they like to the same few volumes."""

    NAMES = [f"{letter}{number}" for letter in PASSPHRASES for number in range(3)]
    # What may happen to a client: a pool or volume is busy, of which the last two are libvirt's ...
    BUSY = (messages.POOL_BUSY(),
            # an upload that is being finished, and a process that a thread is just starting
            messages.BEING_REPLACED(ANY, "tpm"),
            messages.IN_USE(ANY, "tpm", messages.PROCESS_NAMED(ANY, "virtstoraged")),
            messages.IN_USE(ANY, "tpm", messages.PROCESS_NAMED(ANY, "rpc-virtstorage")),
            "is still in use", "is still being allocated")
    # ... what another client has done meanwhile ...
    OTHERS = (error("VIR_ERR_NO_STORAGE_VOL"), error("VIR_ERR_STORAGE_VOL_EXIST"), "already in use",
              messages.BLANK(), messages.UPLOAD_OTHER_TPM(), messages.UPLOAD_REPLACED(ANY, "tpm"),
              messages.COPY_REPLACED(ANY, "tpm"),
              messages.OTHER_TPM_THAN_DESCRIBED(),
              # ... on another host, which also sweeps files that are not locked yet
              "already exists", "No such file or directory",
              messages.IN_USE_ELSEWHERE(ANY, "tpm"), messages.CANNOT_LOCK_NEW_FILE())
    # ... and what it has deserved.
    GARBAGE = messages.UPLOAD_FOREIGN(ANY, ANY, "unknown")

    KINDS = ("create", "copy", "copy", "download", "upload", "upload", "wipe", "delete",
             "delete_zeroed", "describe", "refresh", "names")

    def __init__(self, secrets, seconds, seed, uris=("storage:///system", "qemu:///system")):
        self.secrets = secrets
        self.seconds = seconds
        self.seed = seed
        self.uris = uris

    def work(self, number):
        """One client, for so many seconds; returns how often each operation had which end, and
        Events."""
        # Half of them by way of another daemon, as most users do it.
        client = Client(self.secrets, self.uris[number % len(self.uris)])
        choose = random.Random(self.seed * 100 + number)
        contents = {letter: [client.download(base)] for letter, base in BASES.items()}
        ends = collections.Counter()
        events = []
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            kind = choose.choice(self.KINDS[self.pause():])
            begin = time.monotonic()
            try:
                done = getattr(self, f"attempt_{kind}")(client, choose, contents)
                if done:
                    events.append(Event(begin, time.monotonic(), kind, *done))
                ends[kind, "done"] += 1
            except libvirt.libvirtError as error:
                ends[kind, self.classify(kind, Output(error))] += 1
        return ends, events

    def pause(self):
        """How many kinds of operations nobody begins right now: now and then all those for
        which a pool cannot be refreshed."""
        return self.KINDS.index("describe") if time.monotonic() % 3 < 0.6 else 0

    def classify(self, kind, message):
        """In short what an error is; if it must not be, all of it."""
        for text in self.BUSY + self.OTHERS:
            if text in message:
                return str(text)
        if kind == "upload" and self.GARBAGE in message:
            return "garbage"
        return message

    def name(self, choose):
        """A volume that may be there."""
        return choose.choice(self.NAMES)

    # Each returns which volume it has changed or read, and what that holds now, in an Event.

    def attempt_create(self, client, choose, _):
        name = self.name(choose)
        client.create(name)
        return name, NEW

    def attempt_copy(self, client, choose, _):
        source, name = choose.choice(self.NAMES + list(BASES.values())), self.name(choose)
        client.copy(source, name)
        return name, NEW

    def attempt_download(self, client, choose, contents):
        name = self.name(choose)
        content = client.download(name)
        assert whole(content), (name, content)
        if content:
            contents[name[0]].append(content)
        return name, value(content)

    def attempt_upload(self, client, choose, contents):
        name = self.name(choose)
        content = choose.choice([GARBAGE, *contents[name[0]][:1], contents[name[0]][-1]])
        client.upload(name, content)
        return name, value(content)

    def attempt_wipe(self, client, choose, _):
        name = self.name(choose)
        client.wipe(name)
        return name, BLANK

    def attempt_delete(self, client, choose, _):
        name = self.name(choose)
        client.delete(name)
        return name, NONE

    def attempt_delete_zeroed(self, client, choose, _):
        name = self.name(choose)
        client.delete_zeroed(name)
        return name, NONE

    def attempt_describe(self, client, choose, _):
        client.describe(self.name(choose))

    def attempt_refresh(self, client, *_):
        client.refresh()

    def attempt_names(self, client, *_):
        client.names()


OURS = re.compile(r"storage_(backend_|conf_)?tpm|virtpmstate|virtpmsecret")
STORAGE = re.compile(r"storage_|virtpm")


def reports(text):
    """Those parts of the reports of a sanitizer or of Helgrind that are about our files."""
    text = re.sub(r"^==\d+== ?", "", text, flags=re.M)
    races = [block for block in text.split("-" * 64) if "Possible data race" in block]
    if races:
        return [block for block in races if our_race(block)]
    return [part for part in re.split(r"\n\s*\n", text)
            if any(OURS.search(line) for line in part.splitlines() if re.search(r"\.[ch]:\d+", line))]


def our_race(block):
    """Whether in one of Helgrind's reports our code and the storage driver's, or ours and ours,
    race. Helgrind does not see GLib's locks: it also reports memory that GLib or libvirt's event
    loop has used before or after, and what is GLib's own."""
    sides = re.findall(r"(?:Possible data race|This conflicts).*?\n((?: +(?:at|by) .*\n)+)",
                       re.sub(r"Locks held.*\n|  Lock at.*\n", "", block))
    ends = ["\n".join(side.splitlines()[:3]) for side in sides]
    return all(STORAGE.search(end) and "libglib" not in end.splitlines()[0] for end in ends) \
        and any(OURS.search(end) for end in ends)
