"""The XML that the tests give to libvirt.

Each function has the parameters that tests vary.
"""

from textwrap import indent

# The <tpm> of a volume that awaits a state.
BLANK = "<tpm manufacture='no'/>"


def secret(uuid, usage=None, usage_type="vtpm", ephemeral="no", private="yes"):
    """A secret; without usage it has no usage type."""
    name = "volume" if usage_type == "volume" else "name"
    usage = f"\n  <usage type='{usage_type}'><{name}>{usage}</{name}></usage>" if usage else ""
    return f"""\
<secret ephemeral='{ephemeral}' private='{private}'>
  <uuid>{uuid}</uuid>{usage}
</secret>
"""


def pool(name="tpm", kind="tpm", target=None):
    """A pool; a tpm pool needs no target."""
    target = f"\n  <target><path>{target}</path></target>" if target else ""
    return f"""\
<pool type='{kind}'>
  <name>{name}</name>{target}
</pool>
"""


def volume(name, format=None, encryption=None, secret=None, capacity=None, tpm="", usage=None):
    """A volume of a tpm pool: encryption is 'vtpm' or 'luks', secret a uuid or usage a
    secret's usage, tpm the <tpm> element."""
    target = f"    <format type='{format}'/>\n" if format else ""
    if encryption:
        names = f"uuid='{secret}'" if secret else f"usage='{usage}'"
        inner = f"<secret type='passphrase' {names}/>" if secret or usage else ""
        target += f"    <encryption format='{encryption}'>{inner}</encryption>\n"
    size = f"  <capacity unit='bytes'>{capacity}</capacity>\n" if capacity is not None else ""
    return f"""\
<volume type='file'>
  <name>{name}</name>
{size}  <target>
{target}  </target>
{indent(tpm, "  ")}
</volume>
"""


def tpm_emulator(version="2.0", model="tpm-crb", inner=""):
    """A TPM whose state libvirt makes by itself when the guest is started first."""
    return f"""\
<tpm model='{model}'>
  <backend type='emulator' version='{version}'>{inner}</backend>
</tpm>"""


def tpm_volume(name, pool=None, version=None, model="tpm-crb"):
    """A TPM whose state is a volume."""
    pool = f"pool='{pool}' " if pool else ""
    backend = f"\n  <backend type='emulator' version='{version}'/>" if version else ""
    return f"""\
<tpm model='{model}'>{backend}
  <storage {pool}volume='{name}'/>
</tpm>"""


def tpm_path(path, kind="file"):
    """A TPM whose state is where the user wants it."""
    return tpm_emulator(inner=f"<source type='{kind}' path='{path}'/>")


def disk(path, format="qcow2"):
    """A disk that the Linux guest does not look at."""
    return f"""\
<disk type='file'>
  <driver name='qemu' type='{format}'/>
  <source file='{path}'/>
  <target dev='sda' bus='sata'/>
</disk>"""


def domain(name, uuid, tpm, actions, guest_dir):
    """A domain that boots the Linux guest, which then does the actions."""
    return f"""\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>256</memory>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{guest_dir}/vmlinuz</kernel>
    <initrd>{guest_dir}/initrd</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 no_timer_check tpmtest={actions}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'>
      <source path='{guest_dir}/{name}.console' append='off'/>
    </serial>
{indent(tpm, "    ")}
  </devices>
</domain>
"""
