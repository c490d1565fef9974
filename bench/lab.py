"""Set-up of the measurements: pools with many volumes, idle guests, swtpm_setup."""

import functools
import os
import subprocess
import sys
import uuid
from pathlib import Path

import libvirt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))

import xmls  # noqa: E402
from host import Host, wait_for  # noqa: E402

POOLS = "/var/lib/libvirt/bench"
# In memory, like the directory that virtstoraged makes TPMs in.
SCRATCH = "/run/libvirt/bench"
SIDECAR = ".tpm.xml"
# virtstoraged itself: what virtqemud would add on the way is no part of what is compared.
STORAGE = "storage:///system"


def volume_name(number):
    return f"volume{number:05}"


def guest_xml(name, tpm):
    """A domain with nothing to boot; that it has TPM and firmware makes no difference to
    how it starts."""
    return f"""\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {tpm}
  </devices>
</domain>
"""


class Lab(Host):
    """The sandbox, and what the measurements need in it."""

    def __init__(self, quick):
        super().__init__()
        self.quick = quick

    def times(self, full, quick):
        """How often to repeat."""
        return quick if self.quick else full

    @staticmethod
    def storage():
        """A connection to virtstoraged itself."""
        return libvirt.open(STORAGE)

    @functools.cached_property
    def qemu(self):
        return libvirt.open("qemu:///system")

    # Pools

    @functools.cached_property
    def template(self):
        """A volume to make copies of: its bytes, its sidecar's, and its stat()."""
        self.define_pool("template", target=f"{POOLS}/template")
        path = Path(self.create_volume("template", "template"))
        self.virsh("pool-destroy", "template")
        return path.read_bytes(), Path(f"{path}{SIDECAR}").read_bytes(), path.stat()

    @functools.cache
    def make_pool(self, kind, count):
        """A pool that is off, with so many volumes; those of a 'dir' pool are the same
        files without sidecars. Returns its name."""
        name = f"{kind}-{count}"
        target = Path(POOLS, name)
        self.define_pool(name, kind, target, start=False)
        self.virsh("pool-build", name)
        state, sidecar, like = self.template
        for number in range(count):
            self._write(target / volume_name(number), state, like)
            if kind == "tpm":
                self._write(target / f"{volume_name(number)}{SIDECAR}", sidecar)
        return name

    @staticmethod
    def _write(path, content, like=None):
        with open(path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            # As a volume is made: the blocks of its end are allocated, not written.
            os.posix_fallocate(file.fileno(), 0, len(content))
            file.write(content.rstrip(b"\0"))
            if like:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), like.st_mode & 0o7777)

    def only(self, *names):
        """Let these pools be on, and no others."""
        active = self.virsh("pool-list", "--name").split()
        for name in set(active) - set(names):
            self.virsh("pool-destroy", name)
        for name in sorted(set(names) - set(active)):
            self.virsh("pool-start", name)

    def empty_pool(self):
        """A tpm pool without volumes is on, and no other. Returns its name."""
        if "empty" not in self.virsh("pool-list", "--all", "--name").split():
            self.define_pool("empty", target=f"{POOLS}/empty")
        self.only("empty")
        return "empty"

    def virsh_commands(self, commands):
        """Run virsh commands in one connection to virtstoraged itself."""
        self.virsh("-c", STORAGE, "; ".join(commands))

    @functools.cache
    def volume_file(self, name):
        """A file with the XML of a volume, for vol-create."""
        path = Path(SCRATCH, f"{name}.xml")
        path.parent.mkdir(exist_ok=True, mode=0o755)
        path.write_text(xmls.volume(name), encoding="ascii")
        return path

    # swtpm_setup alone

    @functools.cached_property
    def setup_command(self):
        """What virtstoraged runs for a raw volume; {} is the TPM's uuid and directory."""
        command = ["swtpm_setup", "--tpm2", "--tpm-state", f"file://{SCRATCH}/{{}}/state",
                   "--vmid", "{}", "--createek", "--create-ek-cert",
                   "--create-platform-cert", "--lock-nvram"]
        if "cmdarg-write-ek-cert-files" in self.run("swtpm_setup", "--print-capabilities").stdout:
            command += ["--write-ek-cert-files", f"{SCRATCH}/{{}}"]
        return command

    def setup_directories(self, count):
        """Directories of user tss, for as many TPMs; returns their names."""
        names = [str(uuid.uuid4()) for _ in range(count)]
        for name in names:
            self.run("install", "-d", "-m", "700", "-o", "tss", "-g", "tss", f"{SCRATCH}/{name}")
        return names

    def bare_setup(self, names, jobs=1):
        """Run swtpm_setup for each, so many at once."""
        subprocess.run(["setpriv", "--reuid", "tss", "--regid", "tss", "--clear-groups",
                        "xargs", "-P", str(jobs), "-I", "{}", *self.setup_command],
                       input="\n".join(names), text=True, check=True,
                       stdout=subprocess.DEVNULL)

    # Guests

    def define_idle(self, name, tpm):
        """Define a guest that does nothing; returns the virDomain."""
        return self.qemu.defineXML(guest_xml(name, tpm))

    @staticmethod
    def start(guest):
        """Start a guest; its CPU waits, so as not to be in the way."""
        guest.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    def stop(self, guest):
        """Stop a guest, and wait until its swtpm is gone as well."""
        guest.destroy()
        wait_for("swtpm has ended", lambda: "swtpm" not in self.processes().values(), 30, 0.02)

    @staticmethod
    def processes():
        """The names of this sandbox's processes, by their numbers."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                found[folder.name] = (folder / "comm").read_text().strip()
            except OSError:
                pass  # it has ended
        return found

    @staticmethod
    def forget(guest):
        """Undefine a guest, and with it what libvirt has made for it."""
        guest.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_TPM)
