"""Operations of the tests on a libvirt host, by the means of a user.

virsh, files of the pools, guests, secrets and daemons.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
import time
import uuid
import xml.etree.ElementTree as etree
from pathlib import Path

import xmls
from expected import Output

TOP = Path(__file__).resolve().parent.parent
DAEMONS = ("virtsecretd", "virtstoraged", "virtqemud")
# The kernel, the initramfs and what the guests print on their consoles.
GUEST_DIR = "/var/lib/libvirt/guest"
# Where a tpm pool is that has no other target, and where libvirt keeps the TPMs that it
# makes by itself.
POOL = "/var/lib/libvirt/tpm"
IMPLICIT = "/var/lib/libvirt/swtpm"
# Where volumes of other pools are, and other files of guests; clean_up() removes it.
IMAGES = "/var/lib/libvirt/images"
# The run directory of the storage driver.
RUN = "/run/libvirt/storage"
# What only a clear state has: libtpms' magic of a TPM 2.0; swtpm's blob header with no flag
# of encryption, then the tag of clear data.
CLEAR = [re.compile(rb"\xab\x36\x47\x23"),
         re.compile(rb"\x02\x01\x00\x0a\x00\x00....\x00\x01", re.S)]
# For whatever is waited for, a boot above all; generous, because the guest's CPU is emulated and the
# machine may be busy.
PATIENCE = 240


def wait_for(what, condition, timeout=PATIENCE, every=0.1):
    """Wait until condition() is true, and return what it returned; looks every so many
    seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(every)
    raise AssertionError(f"not within {timeout} s: {what}")


def permanent_blob(linear):
    """The blob of permanent state in a linear file, as swtpm keeps it in a directory."""
    offset, length = struct.unpack_from("<II", linear, 12)
    return linear[offset:offset + length]


# In what forms the state of a TPM is found elsewhere, made of a linear file.
FORMS = {
    "linear": lambda linear: linear,
    "padded": lambda linear: linear.ljust(4 << 20, b"\0"),
    "blob": permanent_blob,
}


class Host:
    """A libvirt host: its daemons, its storage, its guests and its files."""

    # What to put before a command so that it runs on this host.
    enter = ()
    # Where this host's files are seen from here.
    root = Path("/")

    def __init__(self, name=os.environ.get("LIBVIRT_SANDBOX")):
        self.name = name
        # A folder that all hosts see.
        self._shared = f"/dev/shm/libvirt-sandbox.{name}"

    # How others reach it

    @property
    def uri(self):
        """The URI by which daemons and clients of other hosts reach this one."""
        return f"qemu+unix:///system?socket={self._shared}/virtqemud-sock"

    @property
    def storage_uri(self):
        """The URI by which clients of other hosts reach this one's storage driver."""
        return f"storage+unix:///system?socket={self._shared}/virtstoraged-sock"

    @property
    def migrate_uri(self):
        """What virsh migrate --migrateuri takes for a migration to this host."""
        return f"unix://{self._shared}/qemu/migration.sock"

    # Commands

    def run(self, *command, input=None):
        """Run a command on this host; returns the CompletedProcess, with an Output each of what
        it printed. What is not text is os.fsdecode()d."""
        if isinstance(input, bytes):
            input = os.fsdecode(input)
        done = subprocess.run([*self.enter, *map(str, command)], input=input, text=True,
                              errors="surrogateescape", capture_output=True,
                              env={**os.environ, "LC_ALL": "C"}, check=False, timeout=300)
        done.stdout, done.stderr = Output(done.stdout), Output(done.stderr)
        return done

    def virsh(self, *args, input=None):
        """Run virsh, which must succeed; returns what it printed."""
        done = self.run("virsh", "-q", *args, input=input)
        assert done.returncode == 0, f"virsh {' '.join(map(str, args))}: {done.stderr}"
        return done.stdout.strip()

    def virsh_fails(self, *args, input=None):
        """Run virsh, which must fail; returns its error message, an Output."""
        done = self.run("virsh", "-q", *args, input=input)
        assert done.returncode != 0, f"virsh {' '.join(map(str, args))} succeeded: {done.stdout}"
        return Output(done.stderr.strip())

    def daemon(self, action, *names):
        """start, stop, restart or kill daemons; returns when it is done."""
        done = self.run("sandbox-daemon", action, *names)
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def setting(self, line, file="qemu.conf", daemon="virtqemud"):
        """With a line more in a daemon's configuration file."""
        path = self.path(f"/etc/libvirt/{file}")
        before = path.read_text()
        path.write_text(f"{before}{line}\n")
        self.daemon("restart", daemon)
        try:
            yield
        finally:
            path.write_text(before)
            self.daemon("restart", daemon)

    def swtpm_can(self, feature):
        """Whether this host's swtpm, or its swtpm_setup, has a capability."""
        return any(f'"{feature}"' in self.run(*command, "--tpm2", "--print-capabilities").stdout
                   for command in (["swtpm", "socket"], ["swtpm_setup"]))

    @contextlib.contextmanager
    def older_swtpm(self, *features):
        """With a swtpm that says that it can do no more than this."""
        says = json.dumps({"type": "swtpm", "features": features})
        with self.in_place("swtpm", f"echo '{says}'"):
            yield

    @contextlib.contextmanager
    def in_place(self, program, script):
        """With a shell script in place of a program, which the script finds as $real; a process of
        that has the program's name."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            real = Path(folder, "real", program)
            real.parent.mkdir()
            shutil.copy(f"/usr/bin/{program}", real)
            other = Path(folder, program)
            other.write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
            other.chmod(0o755)
            assert self.run("mount", "-n", "--bind", other, f"/usr/bin/{program}").returncode == 0
            try:
                yield
            finally:
                # It may still run.
                self.run("umount", "-n", "-l", f"/usr/bin/{program}")

    def swtpm_after(self, script):
        """With a swtpm that is run after a piece of shell, by whomever."""
        return self.in_place("swtpm", f'{script}\nexec "$real" "$@"')

    # What can be made

    def define_secret(self, value, usage=None, usage_type="vtpm"):
        """Define a secret and set its value; returns its uuid."""
        secret = str(uuid.uuid4())
        self.virsh("secret-define", "/dev/stdin", input=xmls.secret(secret, usage, usage_type))
        self.set_secret(secret, value)
        return secret

    def set_secret(self, secret, value):
        """Set the value of a secret: text or bytes."""
        self.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input=value)

    def define_pool(self, name="tpm", kind="tpm", target=None, start=True):
        """Define a pool, and build and start it unless told otherwise."""
        self.virsh("pool-define", "/dev/stdin", input=xmls.pool(name, kind, target))
        if start:
            self.virsh("pool-build", name)
            self.virsh("pool-start", name)

    def create_volume(self, name, pool="tpm", **what):
        """Create a volume, described as for xmls.volume(); returns its path."""
        self.virsh("vol-create", pool, "/dev/stdin", input=xmls.volume(name, **what))
        return self.virsh("vol-path", name, "--pool", pool)

    def copy_volume(self, source, name, pool="tpm", inputpool="tpm", **what):
        """Create a volume from another, described as for xmls.volume(); returns its path."""
        self.virsh(*self._copy(source, pool, inputpool), input=xmls.volume(name, **what))
        return self.virsh("vol-path", name, "--pool", pool)

    def copy_fails(self, source, name, pool="tpm", inputpool="tpm", **what):
        """Creating a volume from another must fail; returns the error message."""
        return self.virsh_fails(*self._copy(source, pool, inputpool),
                                input=xmls.volume(name, **what))

    @staticmethod
    def _copy(source, pool, inputpool):
        return "vol-create-from", pool, "/dev/stdin", source, "--inputpool", inputpool

    def define_guest(self, name="guest", tpm=xmls.tpm_emulator()):
        """Define a domain that can boot the Linux guest; returns a Guest."""
        self.install_guest()
        guest = Guest(self, name, tpm, str(uuid.uuid4()))
        guest.define("info")
        return guest

    def install_guest(self):
        """Put the guest's kernel and initramfs where QEMU's user can read them; a cache
        folder below somebody's home is not. For what define_guest() is not called for."""
        target = self.path(GUEST_DIR)
        if (target / "initrd").exists():
            return
        made = subprocess.run([TOP / "scripts/setup", "guest"], check=True, text=True, capture_output=True)
        target.mkdir(mode=0o755)
        for name in ("vmlinuz", "initrd"):
            shutil.copy(Path(made.stdout.strip()) / name, target)

    # What can be seen

    def describe(self, name, pool="tpm"):
        """What vol-dumpxml says, parsed; and it is what the schema says."""
        text = self.virsh("vol-dumpxml", name, "--pool", pool)
        self.validate(text, "storagevol")
        return etree.fromstring(text)

    def domain_tpm(self, name="guest", *options):
        """The <tpm> of a domain's XML, parsed; and the XML is what the schema says."""
        text = self.virsh("dumpxml", name, *options)
        self.validate(text, "domain")
        return etree.fromstring(text).find("devices/tpm")

    def identity(self, name, pool="tpm"):
        """The identity uuid of a volume, or None."""
        return self.describe(name, pool).findtext("tpm/uuid")

    def endorsements(self, name, pool="tpm"):
        """The endorsement keys of a volume: {"rsa2048": (fingerprint, certificate), ...}."""
        return {key.get("key"): (key.get("fingerprint"), key.text)
                for key in self.describe(name, pool).findall("tpm/endorsement")}

    def clear_files(self, *folders):
        """Files that hold a clear state in their first 64 MiB. Files may vanish meanwhile."""
        found = []
        for folder in folders:
            for where, _, names in os.walk(self.path(folder)):
                for name in names:
                    path = Path(where, name)
                    if not path.is_file():
                        continue
                    try:
                        with open(path, "rb") as file:
                            content = file.read(64 << 20)
                    except FileNotFoundError:
                        continue
                    if any(mark.search(content) for mark in CLEAR):
                        found.append(path)
        return found

    def path(self, path):
        """A file of this host, as it is seen from here."""
        return self.root / str(path).lstrip("/")

    def contents(self, *folders):
        """All that is in folders, to be compared: equal means that nothing changed."""
        found = {}
        for folder in folders:
            for entry in sorted(self.path(folder).rglob("*")):
                info = entry.lstat()
                facts = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, info.st_ino)
                if stat.S_ISREG(info.st_mode):
                    facts += (info.st_mtime_ns, hashlib.md5(entry.read_bytes()).hexdigest())
                found[str(entry)] = facts
        return found

    def validate(self, text, schema):
        """Check XML against one of the built libvirt's schemas, as a user would."""
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(text)
            file.flush()
            done = self.run("virt-xml-validate", file.name, schema)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{text}"

    def opens_in_swtpm(self, path, passphrase=None):
        """A copy of a volume: swtpm takes it, with its passphrase, as a TPM."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(path, f"{folder}/state")
            key = []
            if passphrase is not None:
                Path(folder, "key").write_bytes(os.fsencode(passphrase))
                key = ["--key", f"pwdfile={folder}/key,mode=aes-256-cbc"]
            swtpm = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", f"backend-uri=file://{folder}/state",
                 "--ctrl", f"type=unixio,path={folder}/ctrl",
                 "--server", f"type=unixio,path={folder}/server",
                 "--flags", "not-need-init,startup-clear", *key],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                done = wait_for("swtpm answers or ends", every=0.02,
                                condition=lambda: self._ask_swtpm(f"{folder}/ctrl", swtpm))
            finally:
                swtpm.terminate()
                output = swtpm.communicate()[0]
        assert done.returncode == 0, f"{path}: {output}{done.stderr}"

    @staticmethod
    def _ask_swtpm(control, swtpm):
        """Ask a swtpm for its configuration; None if it does not listen yet."""
        done = subprocess.run(["swtpm_ioctl", "--unix", control, "-g"],
                              capture_output=True, text=True, check=False)
        return done if swtpm.poll() is not None or "Connect failed" not in done.stderr else None

    @staticmethod
    def wait_for_end(pid):
        """Wait until a process is gone."""
        wait_for(f"process {pid} is gone", lambda: not Path(f"/proc/{pid}").exists())

    def wait_for_none(self, program):
        """Wait until a program runs nowhere on this host."""
        wait_for(f"no {program} runs", lambda: self.run("pgrep", program).returncode == 1)

    @staticmethod
    def lock(file):
        """Take the lock of a volume, as whoever uses it does, until file is closed."""
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)

    @classmethod
    def is_locked(cls, path):
        """Whether somebody holds the lock of a volume."""
        with open(path, "r+b") as file:
            try:
                cls.lock(file)
            except BlockingIOError:
                return True
        return False

    @staticmethod
    def is_locked_by_another(file):
        """Whether somebody else holds a lock on an open file. It is only asked for."""
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK

    @staticmethod
    def holders(path):
        """Who holds a lock of a file: {(process, program, kind)}, by what the kernel tells of
        each open file. Processes are those of this sandbox and of sandboxes inside of it; the kind
        is that of the lock: "POSIX", as swtpm's own, or "OFDLCK", as the one that is inherited."""
        inode = os.stat(path).st_ino
        lock = re.compile(rf"^lock:\s+\d+: (\w+) .* [0-9a-f]+:[0-9a-f]+:{inode} ", re.M)
        found = set()
        for info in Path("/proc").glob("[0-9]*/fdinfo/*"):
            with contextlib.suppress(OSError):
                for kind in lock.findall(info.read_text()):
                    pid = info.parent.parent
                    found.add((int(pid.name), (pid / "comm").read_text().strip(), kind))
        return found

    def log(self, name="virtqemud"):
        """A daemon's log, as an Output."""
        return Output(self.path(f"/var/log/libvirt/{name}.log").read_text(errors="replace"))

    # The end

    def clean_up(self):
        """Remove whatever is there: in a sandbox all of it comes from the tests."""
        for name in DAEMONS:
            if self.run("pidof", name).returncode:
                self.daemon("start", name)
        # By uuid: a name may have blanks in it.
        for domain in self.virsh("list", "--uuid").split():
            # It may be off by now.
            self.run("virsh", "destroy", domain)
        for domain in self.virsh("list", "--all", "--uuid").split():
            self.virsh("undefine", domain, "--managed-save", "--snapshots-metadata",
                       "--checkpoints-metadata", "--nvram", "--tpm")
        for name in self.virsh("pool-list", "--name").split():
            self.virsh("pool-destroy", name)
        for name in self.virsh("pool-list", "--all", "--name").split():
            self.virsh("pool-undefine", name)
        for line in self.virsh("secret-list").splitlines():
            self.virsh("secret-undefine", line.split()[0])
        for folder in ("tpm", "images", "swtpm"):
            shutil.rmtree(self.path(f"/var/lib/libvirt/{folder}"), ignore_errors=True)


class Guest:
    """A domain that boots the Linux guest. integration/guest-init says what the
    guest can do for a test."""

    def __init__(self, host, name, tpm, uuid):
        self.host = host
        self.name = name
        self.tpm = tpm
        self.uuid = uuid

    def define(self, actions):
        """Define the domain again, to do something else when it boots."""
        self.host.virsh("define", "/dev/stdin", input=self.xml(actions))

    def xml(self, actions="info"):
        """The domain's XML."""
        return xmls.domain(self.name, self.uuid, self.tpm, actions, GUEST_DIR)

    def start(self, actions="idle"):
        """Start the guest, and return while it boots."""
        self.define(actions)
        self.host.virsh("start", self.name)

    def start_paused(self):
        """Start the guest, which then does nothing: for what is about its TPM's files."""
        self.host.virsh("start", self.name, "--paused")

    def boot(self, actions):
        """Boot the guest, let it do something, wait until it is off again. It must
        succeed. Returns what it reported: {"sealed": "5ec2e7", ...}."""
        self.start(actions)
        self.wait_off()
        failed = [line for line in self.console() if line.startswith("FAILED")]
        assert not failed, failed
        return dict(line.partition(" ")[::2] for line in self.console())

    def on(self, host):
        """The same guest, on another host."""
        return Guest(host, self.name, self.tpm, self.uuid)

    def migrate(self, target, *options, how="p2p", live=True):
        """Migrate the running guest to another host; returns the guest there."""
        self.host.virsh(*self.migration(target, *options, how=how, live=live))
        return self.on(target)

    def migration(self, target, *options, how="p2p", live=True):
        """The arguments of virsh for that, for a migration that must fail."""
        return ("migrate", self.name, target.uri, *(["--live"] if live else []), "--persistent", *{
            "direct": ("--migrateuri", target.migrate_uri),
            "p2p": ("--p2p", "--migrateuri", target.migrate_uri),
            "tunnelled": ("--p2p", "--tunnelled"),
        }[how], *options)

    def console(self):
        """The lines that the guest reported since it was started."""
        log = self.host.path(f"{GUEST_DIR}/{self.name}.console")
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [line.partition("GUEST: ")[2] for line in lines if "GUEST: " in line]

    def wait_report(self, start):
        """Wait until the guest reports something that starts so; returns the line."""
        return self._wait_told(f"reports '{start}'", lambda: next(
            (line for line in self.console() if line.startswith(start)), ""))

    def _wait_told(self, what, condition):
        """Wait until the guest does something; an error tells what it has done instead."""
        try:
            return wait_for(f"{self.name} {what}", condition)
        except AssertionError as late:
            raise AssertionError(f"{late}; it is {self.state()}, and has reported {self.console()}") from late

    def next_report(self, start=""):
        """Wait until the guest reports something, or something that starts so, once more;
        returns the line."""
        def reports():
            return [line for line in self.console() if line.startswith(start)]
        known = len(reports())
        return self._wait_told(f"reports '{start}' again", lambda: reports()[known:])[0]

    def pid(self, program):
        """The process of a running guest: of "swtpm" or of "qemu"."""
        pattern = {"swtpm": f"swtpm socket.*-{self.name}-swtpm.sock",
                   "qemu": f"qemu-system.* guest={self.name},"}[program]
        return int(self.host.run("pgrep", "-f", pattern).stdout)

    def wait_off(self):
        """Wait until the guest has powered itself off."""
        wait_for(f"{self.name} is off", lambda: self.state() == "shut off")

    def state(self):
        """running, shut off, ..."""
        return self.host.virsh("domstate", self.name)
