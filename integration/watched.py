"""A host whose TPM volumes are watched: no operation on a domain may replace or delete one.

Volumes keep their file and their sidecar, and nothing comes or goes beside them.
"""

import contextlib
import os
import signal

import messages
import xmls
from host import IMPLICIT, POOL

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
