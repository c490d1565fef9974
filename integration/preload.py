"""Makes calls of a daemon fail, stops it before a call, or delays calls, by the library that preload.c
becomes; and does something meanwhile."""

import contextlib
import ctypes
import errno
import mmap
import os
import subprocess
import tempfile
import threading

import libvirt

from host import TOP, wait_for

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
