"""Uploads and downloads of volumes by virsh.

The arguments of an upload, what is in a volume's file, and a blank volume for the TPM of another.
"""

import messages
from expected import ANY
from host import POOL

# What is said of a volume that a guest uses.
IN_USE = messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(ANY, "swtpm"))


def upload(host, name, content, tmp_path, *options):
    """The arguments of virsh for an upload of bytes."""
    file = tmp_path / "upload"
    file.write_bytes(content)
    return "vol-upload", name, file, "--pool", "tpm", *options


def volume_bytes(host, name):
    """What the file of a volume holds."""
    return host.path(f"{POOL}/{name}").read_bytes()


def create_blank(host, text):
    """Create a volume that awaits the TPM of one whose XML was saved."""
    host.virsh("vol-create", "tpm", "/dev/stdin", "--validate",
               input=text.replace("<tpm ", "<tpm manufacture='no' "))
