"""TPM volumes that are named as something else than a TPM or a disk: other devices, firmware, backups,
overlays and snapshots."""

import os
import re

import pytest

import messages
import xmls
from host import POOL

TARGET = "<target type='virtio' name='org.example.one'/>"
# Each would be written to, removed, or given to QEMU's user.
NAMED_BY_A_PATH = {
    "serial file": "<serial type='file'><source path='{path}'/></serial>",
    "serial file, appended": "<serial type='file'><source path='{path}' append='on'/></serial>",
    "serial log": "<serial type='null'><log file='{path}'/></serial>",
    "serial socket": "<serial type='unix'><source mode='bind' path='{path}'/></serial>",
    "serial device": "<serial type='dev'><source path='{path}'/></serial>",
    "serial pipe": "<serial type='pipe'><source path='{path}'/></serial>",
    "parallel": "<parallel type='file'><source path='{path}'/></parallel>",
    "console": "<console type='file'><source path='{path}'/><target type='virtio'/></console>",
    "channel": f"<channel type='unix'><source mode='bind' path='{{path}}'/>{TARGET}</channel>",
    "description": "<serial type='file'><source path='{path}.tpm.xml'/></serial>",
    "graphics": "<graphics type='vnc'><listen type='socket' socket='{path}'/></graphics>",
    "render node": "<graphics type='egl-headless'><gl rendernode='{path}'/></graphics>",
    "audio": "<audio id='1' type='file' path='{path}'/>",
    "key of ssh": "<disk type='network'><driver name='qemu' type='raw'/><source protocol='ssh' name='/disk'>"
                  "<host name='localhost'/><identity username='user' keyfile='{path}'/>"
                  "<knownHosts path='/var/lib/libvirt/hosts'/></source><target dev='sdc' bus='sata'/></disk>",
    "store for crash dumps": "<pstore backend='acpi-erst'><path>{path}</path><size unit='KiB'>8</size></pstore>",
    "passed through TPM": "<tpm><backend type='passthrough'><device path='{path}'/></backend></tpm>",
    "log of passt": "<interface type='user'><backend type='passt' logFile='{path}'/></interface>",
    "shared directory": "<filesystem accessmode='mapped'><source dir='{pool}'/><target dir='x'/></filesystem>",
}


@pytest.mark.parametrize("what", NAMED_BY_A_PATH)
def test_volume_is_no_other_device(tpm_host, what):
    """Such a domain does not start; the volume is not touched, nor when the start has failed."""
    path = tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    device = NAMED_BY_A_PATH[what].format(path=path, pool=POOL)
    tpm_host.define_guest(tpm=device)
    said = tpm_host.virsh_fails("start", "guest")
    assert (messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(POOL) if what == "shared directory" else
            messages.PATH_ONLY_FOR_TPM(f"{path}.tpm.xml" if what == "description" else path, "one", "tpm")) in said
    assert tpm_host.contents(POOL) == facts


def test_empty_pool_is_not_shared_either(tpm_host, images):
    """It may get volumes while the guest runs. A directory above it is the administrator's choice."""
    share = "<filesystem accessmode='mapped'><source dir='{}'/><target dir='x'/></filesystem>"
    tpm_host.define_guest(tpm=share.format(POOL))
    assert messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(POOL) in tpm_host.virsh_fails("start", "guest")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.virsh("pool-undefine", "tpm")
    tpm_host.define_pool(target=f"{images}/below")
    tpm_host.define_guest("above", share.format(images)).start_paused()


def test_blank_volume_by_a_hard_link_is_refused(tpm_host, images):
    """An empty file has nothing that tells that it is a volume; a file that is in no pool is a disk."""
    path = tpm_host.path(tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>"))
    facts = tpm_host.contents(POOL)
    for name in ("link", "empty", "other"):
        (images / name).unlink(missing_ok=True)
    os.link(path, images / "link")
    tpm_host.define_guest(tpm=xmls.disk(images / "link", "raw"))
    said = tpm_host.virsh_fails("start", "guest", "--paused")
    assert messages.PATH_ONLY_FOR_TPM(images / "link", "blank", "tpm") in said
    assert tpm_host.contents(POOL) == facts
    (images / "empty").touch()
    os.link(images / "empty", images / "other")
    tpm_host.define_guest("disk", xmls.disk(images / "empty", "raw")).start_paused()


@pytest.mark.parametrize("element", ["kernel", "initrd", "dtb", "loader", "nvram", "template"])
def test_volume_is_no_firmware(tpm_host, element):
    """It would be given to QEMU's user, or be written to; and be removed with the domain."""
    path = tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    guest = tpm_host.define_guest(tpm="")
    line = f"<{element}>{path}</{element}>"
    if element in ("loader", "nvram", "template"):
        code = path if element == "loader" else "/usr/share/code.fd"
        template = path if element == "template" else "/usr/share/vars.fd"
        line = f"<loader readonly='yes' type='pflash'>{code}</loader>"
        line += f"<nvram template='{template}'>{path if element == 'nvram' else '/var/lib/libvirt/vars.fd'}</nvram>"
    text = re.sub(f"<{element}>.*</{element}>", "", guest.xml()).replace("<cmdline>", f"{line}<cmdline>")
    tpm_host.virsh("define", "/dev/stdin", input=text)
    assert messages.PATH_ONLY_FOR_TPM(path, "one", "tpm") in tpm_host.virsh_fails("start", "guest")
    tpm_host.virsh("undefine", "guest", "--nvram")
    assert tpm_host.contents(POOL) == facts


def backup(path):
    """What backup-begin is told to write a disk to."""
    return f"<domainbackup><disks><disk name='sda' type='file'><target file='{path}'/></disk></disks></domainbackup>"


def test_volume_is_not_written_to_by_other_ways(tpm_host, images):
    """While a guest runs: neither attached to it, nor the target of what is saved or copied, whether it
    holds a TPM or is blank."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    facts = tpm_host.contents(POOL)
    overlay = images / "overlay"
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", f"{POOL}/one", overlay)
    guest = tpm_host.define_guest(tpm=xmls.disk(overlay))
    assert messages.PATH_ONLY_FOR_TPM(f"{POOL}/one", "one", "tpm") in tpm_host.virsh_fails("start", "guest")

    ports = [f"<controller type='pci' index='{index}' model='pcie-root-port'/>" for index in (1, 2, 3)]
    guest.tpm = (xmls.disk(images / "disk") + "<controller type='pci' index='0' model='pcie-root'/>" + "".join(ports) +
                 "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>")
    guest.start()
    for name in ("one", "blank"):
        path = f"{POOL}/{name}"
        refused = messages.PATH_ONLY_FOR_TPM(path, name, "tpm")
        channel = f"<channel type='unix'><source mode='bind' path='{path}'/>{TARGET}</channel>"
        for command, text in (
                (("attach-disk", "guest", path, "vdb", "--targetbus", "virtio"), ""),
                (("attach-device", "guest", "/dev/stdin"), channel),
                (("change-media", "guest", "sdb", path, "--live"), ""),
                (("snapshot-create-as", "guest", "--disk-only", "--diskspec", f"sda,file={path}",
                  "--reuse-external"), ""),
                (("snapshot-create-as", "guest", "--memspec", path, "--diskspec", "sda,snapshot=external"), ""),
                (("blockcopy", "guest", "sda", path, "--reuse-external", "--transient-job"), ""),
                (("backup-begin", "guest", "/dev/stdin", "--reuse-external"), backup(path)),
                (("save", "guest", path), ""),
                (("dump", "guest", path, "--memory-only"), "")):
            assert refused in tpm_host.virsh_fails(*command, input=text), command
            assert tpm_host.contents(POOL) == facts
    # An empty file is a target that libvirt makes anew, and removes when that fails.
    for command in (("snapshot-create-as", "guest", "--disk-only", "--diskspec", f"sda,file={POOL}/blank"),
                    ("blockcopy", "guest", "sda", f"{POOL}/blank", "--transient-job")):
        assert refused in tpm_host.virsh_fails(*command), command
        assert tpm_host.contents(POOL) == facts
    assert guest.state() == "running"


@pytest.mark.parametrize("name", ["one", "blank"])
def test_volume_is_no_overlay_of_a_guest_that_is_off(tpm_host, images, name):
    tpm_host.create_volume("one")
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    facts = tpm_host.contents(POOL)
    tpm_host.define_guest(tpm=xmls.disk(images / "disk"))
    for option in ("--reuse-external", "--atomic"):
        said = tpm_host.virsh_fails("snapshot-create-as", "guest", "--disk-only", option,
                                    "--diskspec", f"sda,file={POOL}/{name}")
        assert messages.PATH_ONLY_FOR_TPM(f"{POOL}/{name}", name, "tpm") in said
        assert tpm_host.contents(POOL) == facts


@pytest.mark.parametrize("defined", [True, False])
def test_volume_is_not_deleted_with_a_snapshot(tpm_host, images, defined):
    """One whose description was changed to name it, while its pool is defined or not."""
    path = tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.disk(images / "disk"))
    guest.start()
    tpm_host.virsh("snapshot-create-as", "guest", "then", "--memspec", images / "memory",
                   "--diskspec", "sda,snapshot=external")
    text = tpm_host.virsh("snapshot-dumpxml", "guest", "then", "--security-info")
    facts = tpm_host.contents(POOL)
    tpm_host.virsh("snapshot-create", "guest", "/dev/stdin", "--redefine",
                   input=text.replace(f"{images}/memory", path))
    if not defined:
        tpm_host.virsh("pool-destroy", "tpm")
        tpm_host.virsh("pool-undefine", "tpm")
    tpm_host.virsh("snapshot-delete", "guest", "then")
    assert tpm_host.contents(POOL) == facts


def test_foreign_file_in_a_pool_is_a_disk(tpm_host):
    """What is no TPM state and has no description is nobody's volume."""
    image = tpm_host.path(f"{POOL}/image")
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    tpm_host.define_guest(tpm=xmls.disk(image)).start()
