"""A complete Debian host in a QEMU of its own, for what a sandbox cannot show: systemd,
AppArmor, upgrades of packages, power cuts, two machines with a network.

A host is controlled by its guest agent: commands have an exit status and output apart,
and need neither a network nor keys. It has no way to the outside but a folder that it
may read. A booted host can be saved; a clone of it answers within seconds.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import uuid

TOP = pathlib.Path(__file__).resolve().parent.parent
BOOT_SECONDS = 900
LIMIT = 20 << 30        # bytes that all hosts may take of the disk
SHARE = "/mnt/share"    # where a host sees the folder that it is given


class HostError(Exception):
    """A host does not run, does not answer, or a command of it failed."""


class Channel:
    """A socket on which one JSON document is asked and one is answered."""

    def __init__(self, path, timeout):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def send(self, name, **arguments):
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def answers(self):
        for line in self.lines:
            with contextlib.suppress(ValueError):
                yield json.loads(line.split(b"\xff")[-1])
        raise OSError("the channel was closed")

    def ask(self, name, **arguments):
        self.send(name, **arguments)
        for answer in self.answers():
            if "error" in answer:
                raise HostError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


def make_image(kind):
    """The folder with disk, kernel and initrd of new hosts: "trixie", "trixie selinux"."""
    made = subprocess.run([TOP / "scripts/inside/hostimage", *kind.split()],
                          check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


class Host:
    """One host. Its files are in a folder of its own below `folder`."""

    def __init__(self, name, folder, kind="trixie", share=None, memory=1536, image=None):
        self.name = name
        self.folder = pathlib.Path(folder) / name
        self.kind = kind
        self.share = share
        self.memory = memory
        self.image = pathlib.Path(image or make_image(kind))
        self.uuid = uuid.uuid5(uuid.NAMESPACE_DNS, name)

    @classmethod
    def existing(cls, name, folder):
        """A host that was started before, by this process or another."""
        try:
            about = json.loads((pathlib.Path(folder) / name / "about").read_text())
        except OSError:
            raise HostError(f"there is no host {name}") from None
        return cls(name, folder, **about)

    # Life of the machine.

    def start(self, template=None, more=()):
        """Power on: with the image's disk, the one it has already, or a template's."""
        taken = sum(file.stat().st_blocks * 512 for file in self.folder.parent.rglob("*") if file.is_file())
        if taken > LIMIT:
            raise HostError(f"the hosts in {self.folder.parent} take {taken >> 30} GiB: remove some")
        if self.pid():
            raise HostError(f"{self.name} is running already")
        if (self.folder / "memory").exists():
            raise HostError(f"{self.name} is a template, which others begin from")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "about").write_text(json.dumps(
            {"kind": self.kind, "share": self.share and str(self.share), "memory": self.memory,
             "image": str(self.image)}))
        disk = self.folder / "disk"
        if template or not disk.exists():
            disk.unlink(missing_ok=True)
            base, form = (template.folder / "disk", "qcow2") if template else (self.image / "disk.img", "raw")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", form, disk], check=True)
        for left in ("qmp", "agent", "net"):
            (self.folder / left).unlink(missing_ok=True)
        subprocess.run([*self.command(disk), *more], check=True)

    def command(self, disk):
        share = []
        if self.share:
            share = ["-fsdev", f"local,id=share,path={self.share},security_model=none,readonly=on",
                     "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]
        kernel = ("root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 mitigations=off nokaslr "
                  f"net.ifnames=0 systemd.machine_id={self.uuid.hex}")
        if "selinux" in self.kind:
            kernel += " security=selinux"
        return ["nice", "-n", "5", "qemu-system-x86_64", "-name", self.name, "-uuid", str(self.uuid),
                "-machine", "q35,usb=off,smbus=off,sata=off,vmport=off", "-accel", "tcg,thread=multi",
                "-cpu", "max", "-smp", "2", "-m", str(self.memory), "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot",
                "-kernel", self.image / "vmlinux", "-initrd", self.image / "initrd", "-append", kernel,
                "-drive", f"file={disk},if=none,id=disk,cache=unsafe,discard=unmap",
                "-device", "virtio-blk-pci,drive=disk", "-serial", f"file:{self.folder}/console",
                "-device", "pcie-root-port,id=root-port,chassis=1", "-device", "virtio-rng-pci",
                "-device", "virtio-scsi-pci,id=scsi",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={self.folder}/agent,server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0", *share,
                "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
                "-pidfile", self.folder / "pid", "-daemonize"]

    def pid(self):
        """The process of the machine, or None if it does not run."""
        try:
            pid = int((self.folder / "pid").read_text())
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.folder).encode() in command else None

    def monitor(self, name, **arguments):
        with Channel(self.folder / "qmp", 600) as channel:
            next(channel.answers())
            channel.ask("qmp_capabilities")
            return channel.ask(name, **arguments)

    def kill(self):
        """Cut the power."""
        if self.pid():
            with contextlib.suppress(OSError):
                self.monitor("quit")
        self.wait_ended(10)

    def remove(self):
        """Forget disk and memory."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def shut_down(self):
        """Have the system end in good order."""
        self.run("systemctl poweroff --no-block")
        self.wait_ended(300)

    def wait_ended(self, timeout):
        end = time.monotonic() + timeout
        while self.pid():
            if time.monotonic() > end:
                raise HostError(f"{self.name} does not end")
            time.sleep(0.1)

    def save(self):
        """Make it a template: disk and memory are not to be written again."""
        self.run(f"! mountpoint -q {SHARE} || umount {SHARE}; sync", check=True)
        self.monitor("stop")
        self.monitor("migrate-set-parameters", **{"max-bandwidth": 1 << 34})
        self.monitor("migrate", uri=f"exec:cat > {self.folder}/memory")
        while (status := self.monitor("query-migrate")["status"]) not in ("completed", "failed"):
            time.sleep(0.2)
        self.kill()
        if status != "completed":
            raise HostError(f"{self.name} cannot be saved")

    def clone(self, name):
        """A host that goes on where this one was saved, under a name of its own."""
        other = Host(name, self.folder.parent, self.kind, self.share, self.memory, self.image)
        other.start(self, ("-incoming", f"exec:cat {self.folder}/memory"))
        while other.monitor("query-status")["status"] == "inmigrate":
            time.sleep(0.1)
        other.monitor("cont")
        other.forget_denied()
        other.run(f"date -s @{time.time()}; hostname {name}; "
                  "sed -i '/^host_uuid/d' /etc/libvirt/libvirtd.conf; "
                  f"printf 'host_uuid = \"{other.uuid}\"\\n' >> /etc/libvirt/libvirtd.conf; "
                  "systemctl try-restart libvirtd", check=True)
        return other

    # What runs in it.

    def agent(self, deadline=BOOT_SECONDS):
        """A channel to the agent on which nothing of an earlier one is left."""
        end = time.monotonic() + deadline
        while time.monotonic() < end and self.pid():
            token = int(time.time() * 1e6) & 0x7fffffff
            try:
                channel = Channel(self.folder / "agent", 5)
                channel.socket.sendall(b"\xff")
                channel.send("guest-sync-delimited", id=token)
                if any(answer.get("return") == token for answer in itertools.islice(channel.answers(), 8)):
                    channel.socket.settimeout(60)
                    return channel
            except OSError:
                time.sleep(0.3)
        raise HostError(f"{self.name} does not run, or its agent does not answer")

    def run(self, command, check=False, timeout=600, data=b""):
        """Run a shell command; its exit status, output and errors."""
        environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        with self.agent() as agent:
            pid = agent.ask("guest-exec", path="/bin/sh", arg=["-c", command], env=environment,
                            **{"capture-output": True, "input-data": base64.b64encode(data).decode()})["pid"]
            end, pause = time.monotonic() + timeout, 0.05
            while not (status := agent.ask("guest-exec-status", pid=pid))["exited"]:
                if time.monotonic() > end:
                    raise HostError(f"{self.name}: not done after {timeout} s: {command}")
                time.sleep(pause)
                pause = min(pause * 1.5, 1)
        code = status.get("exitcode", 128 + status.get("signal", 0))
        out, err = (base64.b64decode(status.get(key, "")).decode(errors="replace")
                    for key in ("out-data", "err-data"))
        if check and code:
            raise HostError(f"{self.name}: status {code}: {command}\n{out}{err}")
        return subprocess.CompletedProcess(command, code, out, err)

    def boot(self):
        """Wait until everything that starts at boot has."""
        self.run("systemctl is-system-running --wait", timeout=BOOT_SECONDS)

    def reboot(self):
        self.shut_down()
        self.start()
        self.boot()

    def wait_until(self, condition, timeout=300):
        """Wait until a shell command succeeds."""
        self.run(f"until {condition}; do sleep 0.5; done", check=True, timeout=timeout)

    def mount_share(self):
        """Show it the folder that it may read; until then, and for save, it is not mounted."""
        self.run(f"mkdir -p {SHARE} && mount -t 9p -o trans=virtio,ro share {SHARE}", check=True)

    def plug(self, name, image, log=None):
        """Add a disk, a raw image, and have its writes logged; its path in the host."""
        disk = {"driver": "raw", "file": {"driver": "file", "filename": str(image), "cache": {"no-flush": True}}}
        if log:
            log.touch()
            disk = {"driver": "blklogwrites", "file": disk, "log": {"driver": "file", "filename": str(log)}}
        self.monitor("blockdev-add", **disk, **{"node-name": name})
        self.monitor("device_add", driver="scsi-hd", id=f"{name}-device", drive=name, serial=name, bus="scsi.0")
        path = f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{name}"
        self.wait_until(f"[ -b {path} ]", 60)
        return path

    def unplug(self, name):
        self.monitor("device_del", id=f"{name}-device")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(HostError):
                self.monitor("blockdev-del", **{"node-name": name})
                return
            time.sleep(0.1)
        raise HostError(f"{self.name}: disk {name} cannot be removed")

    def denied(self):
        """What AppArmor has refused, but for one that every swtpm asks for in vain."""
        log = self.run("dmesg", check=True).stdout
        return [line for line in log.splitlines()
                if 'apparmor="DENIED"' in line and "/etc/ssl/openssl.cnf" not in line]

    def forget_denied(self):
        self.run("dmesg --clear", check=True)


def wire(one, other):
    """A network of the two alone: 10.9.0.1 and 10.9.0.2."""
    for number, (host, peer) in enumerate(((one, other), (other, one)), 1):
        host.monitor("netdev_add", type="dgram", id="net0",
                     local={"type": "unix", "path": f"{host.folder}/net"},
                     remote={"type": "unix", "path": f"{peer.folder}/net"})
        host.monitor("device_add", driver="virtio-net-pci", id="nic0", netdev="net0", bus="root-port",
                     mac=f"52:54:00:09:00:{number:02x}")
    for number, host in enumerate((one, other), 1):
        host.run(f"hostname host{number}; until ip link set eth0 up; do sleep 0.3; done; "
                 f"ip addr add 10.9.0.{number}/24 dev eth0", check=True, timeout=60)


def default_folder(kind="machines"):
    """Where hosts are: those that are started by hand, or those of the tests."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "libvirt-tpm-pool/host" / kind
