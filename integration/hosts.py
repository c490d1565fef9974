"""Further hosts: a second sandbox, and daemons of an unprivileged user.

For migrations and shared directories, and for what an unprivileged user can do.
"""

import os
import subprocess
from pathlib import Path

import pytest

from host import DAEMONS, PATIENCE, TOP, Host


class OtherHost(Host):
    """A second sandbox, started from inside of this one. A context manager."""

    def __init__(self, name):
        super().__init__(name)
        self._sandbox = None

    def __enter__(self):
        # Not "sleep": the sandbox shall end when this process does.
        swtpm = os.environ.get("LIBVIRT_SANDBOX_SWTPM")
        self._sandbox = subprocess.Popen(
            [TOP / "scripts/sandbox", "--host", self.name,
             "--build", os.environ["LIBVIRT_SANDBOX_BUILD"], *(["--swtpm", swtpm] if swtpm else []),
             "--", "sh", "-c", "echo ready; cat > /dev/null"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._sandbox.stdout.readline() == "ready\n", "the other host did not start"
        init = self._child(self._child(self._sandbox.pid))
        self.root = Path(f"/proc/{init}/root")
        self.enter = ("nsenter", "--target", init, "--mount", "--root", "--pid", "--uts", "--")
        return self

    def validate(self, text, schema):
        # Each sandbox has a /tmp of its own.
        Host().validate(text, schema)

    def __exit__(self, *_):
        self._sandbox.stdin.close()
        self._sandbox.wait(timeout=PATIENCE)

    @staticmethod
    def _child(pid):
        return subprocess.check_output(["pgrep", "-P", str(pid)], text=True).split()[0]


class Session(Host):
    """Daemons of an unprivileged user, as a Host. A context manager."""

    build = TOP / "build/subprojects/libvirt/src"

    def __init__(self, home):
        super().__init__()
        self.home = home
        # cat, for a pipe of root's cannot be opened as /dev/stdin.
        self.enter = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
                      "env", "-u", "XDG_CONFIG_HOME", "-u", "XDG_CACHE_HOME", f"HOME={home}",
                      f"XDG_RUNTIME_DIR={home}/run", "LIBVIRT_DEFAULT_URI=qemu:///session",
                      "sh", "-c", 'cat | "$@"', "--")

    def __enter__(self):
        subprocess.run(["install", "-d", "-o", "nobody", self.home, f"{self.home}/run"], check=True)
        if self.run("test", "-x", self.build / "virtqemud").returncode:
            pytest.skip("an unprivileged user has no access to this checkout")
        self.run("swtpm_setup", "--create-config-files")
        for name in DAEMONS:
            done = self.run(self.build / name, "--daemon", "--pid-file", f"{self.home}/{name}.pid")
            assert done.returncode == 0, done.stderr
        return self

    def __exit__(self, *_):
        for name in reversed(DAEMONS):
            subprocess.run(["pkill", "-F", f"{self.home}/{name}.pid"], check=True)

    def validate(self, text, schema):
        # The file that it makes is root's.
        Host().validate(text, schema)
