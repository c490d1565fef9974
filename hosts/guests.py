"""Linux guests of a host. Their XML and what they do is that of the integration tests."""

import time
import uuid

import xmls
from machine import HostError

FILES = "/var/lib/libvirt/guest"    # where a host has kernel and initrd of its guests
SECRET = "a2b0a1b4-53d5-4ff4-8c5b-6a3f1c5d3b11"
PATIENCE = 600                      # a guest in a host that is emulated itself is slow


def identity(host, volume):
    """The uuid of the TPM on a volume of the pool "tpm"."""
    return host.run(f"virsh vol-dumpxml --pool tpm {volume} | sed -n 's/.*<uuid>\\(.*\\)<.*/\\1/p'",
                    check=True).stdout.strip()


def define_secret(host):
    """The secret with the usage "key", to encrypt volumes with."""
    host.run("virsh secret-define /dev/stdin", check=True, data=xmls.secret(SECRET, "key").encode())
    host.run(f"echo cGFzc3dvcmQ= > /tmp/value && virsh secret-set-value --file /tmp/value {SECRET}", check=True)


class Guest:
    """A guest with one TPM: `tpm` is its XML, by default a volume of the guest's name."""

    def __init__(self, host, name, tpm=None):
        self.host = host
        self.name = name
        self.uuid = uuid.uuid5(uuid.NAMESPACE_DNS, name)
        self.tpm = tpm or xmls.tpm_volume(name, "tpm")
        self.console = f"{FILES}/{name}.console"

    def on(self, host):
        """The same guest where it was moved to."""
        return Guest(host, self.name, self.tpm)

    def define(self, actions="idle"):
        xml = xmls.domain(self.name, self.uuid, self.tpm, actions, FILES)
        self.host.run("virsh define /dev/stdin", check=True, data=xml.encode())

    def start(self, actions="idle"):
        self.define(actions)
        self.host.run(f"virsh start {self.name}", check=True)

    def watch(self):
        """Start it, and have it seal a secret, and unseal that again and again; the secret."""
        self.start("watch")
        return self.report("sealed")

    def change(self, actions):
        """Have it do something else when it starts next; its definition stays otherwise."""
        self.host.run(f"virsh dumpxml --inactive {self.name} | sed 's/tpmtest=[^<]*/tpmtest={actions}/' > /tmp/xml && "
                      "virsh define /tmp/xml", check=True)

    def destroy(self):
        self.host.run(f"virsh destroy {self.name}", check=True)

    def reports(self):
        """All that the guest has said since it was started."""
        console = self.host.run(f"cat {self.console}").stdout
        whole = console[:console.rfind("\n") + 1]
        return [line.strip().removeprefix("GUEST: ") for line in whole.splitlines() if line.startswith("GUEST: ")]

    def report(self, word, after=0):
        """Wait until the guest says `word` and more, behind its first `after` reports;
        what it says more."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            reports = self.reports()[after:]
            for said in reports:
                if f"{said} ".startswith(f"{word} "):
                    return said[len(word) + 1:]
                if said.startswith("FAILED"):
                    raise HostError(f"{self.name}: {said}")
            time.sleep(0.5)
        raise HostError(f"{self.name} did not say '{word}', but {reports}")

    def next_report(self, word):
        """The same, of what the guest says from now on."""
        return self.report(word, len(self.reports()))

    def wait_off(self):
        self.host.wait_until(f'[ "$(virsh -q domstate {self.name})" = "shut off" ]')

    def pids(self):
        """The processes of its QEMU and its swtpm."""
        found = self.host.run(f"pgrep -f 'gues[t]={self.name},|-{self.name}-swtp[m].sock'", check=True)
        return found.stdout.split()
