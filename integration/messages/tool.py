"""What virt-tpm-volume tells.

A part that varies has a number, as in the texts of C.
"""

from expected import TOOL, Message

IS_ADOPTED = Message(TOOL, "its TPM is volume '%1$s' of pool '%2$s'")
PYTHON_MODULE_MISSING = Message(TOOL, "the Python module 'libvirt' is missing", "install python3-libvirt")
TPM_OF_OTHER_TYPE = Message(TOOL, "its TPM is of type '%1$s'")
HAS_NO_TPM = Message(TOOL, "it has no TPM")
UNKNOWN_TPM_VERSION = Message(TOOL, "its TPM has unknown version '%1$s'")
TOOL_POOL_NOT_FOUND = Message(
    TOOL,
    "storage pool '%1$s' not found",
    "define one of type 'tpm' with pool-define, or name another with --pool")
TOOL_POOL_OF_OTHER_TYPE = Message(TOOL, "storage pool '%1$s' is of type '%2$s', not 'tpm'")
TOOL_POOL_INACTIVE = Message(TOOL, "storage pool '%1$s' is not active", "start it with pool-start")
TOOL_TOO_LARGE = Message(TOOL, "'%1$s' is too large for TPM state")
NO_STATE_IN_DIRECTORY = Message(
    TOOL,
    "TPM state not found in '%1$s'",
    "start the guest once, or create a volume with vol-create")
STATE_IN_INACTIVE_POOL = Message(
    TOOL,
    "its TPM state is in the directory of storage pool '%1$s', which is not active",
    "start it with pool-start")
NO_STATE_FILE = Message(
    TOOL,
    "TPM state '%1$s' not found",
    "start the guest once, or create a volume with vol-create")
STATE_EMPTY = Message(
    TOOL,
    "'%1$s' holds no TPM state",
    "start the guest once, or create a volume with vol-create")
NO_STATE_DIRECTORY = Message(
    TOOL,
    "cannot determine the state directory of a session on another host",
    "set it with --state-dir")
TRANSIENT = Message(TOOL, "domain is transient", "define it first")
ACTIVE = Message(TOOL, "domain is running or paused", "shut it down first")
MANAGED_SAVE = Message(
    TOOL,
    "domain has a managed save image, which needs the old state",
    "start it and shut it down, or remove the image with managedsave-remove")
STATE_NOT_ENCRYPTED = Message(
    TOOL,
    "its TPM state is not encrypted, but its XML names a secret",
    "remove the <encryption> first")
STATE_ENCRYPTED = Message(
    TOOL,
    "its TPM state is encrypted, but its XML names no secret",
    "add the <encryption> first")
INVALID_VOLUME_NAME = Message(TOOL, "invalid TPM volume name '%1$s'", "name another with --volume")
EXISTS_WITH_OTHER_TPM = Message(
    TOOL,
    "volume '%1$s' of pool '%2$s' exists already and holds another TPM",
    "name another with --volume, or delete it with vol-delete if it is not needed")
EXISTS_WITH_OTHER_SECRET = Message(
    TOOL,
    "volume '%1$s' of pool '%2$s' exists already and has another secret",
    "name another with --volume, or delete it with vol-delete if it is not needed")
STATE_CHANGED = Message(TOOL, "its TPM changed while it was adopted", "shut the domain down and adopt it again")
XML_CHANGED = Message(TOOL, "its XML changed while its TPM was adopted", "adopt it again")
STARTED_MEANWHILE = Message(
    TOOL,
    "domain was started with the old state while its TPM was adopted",
    "shut it down and adopt it again")
VOLUME_IS_LEFT = Message(
    TOOL,
    "%1$s: new volume '%2$s' could not be removed",
    "adopt the domain again, or delete the volume")
HAS_SNAPSHOTS = Message(
    TOOL,
    "%1$s: domain has %2$s snapshot(s), and reverting to one brings back the old state and the reference to it")
DESCRIPTION_MISSING = Message(
    TOOL,
    "its description is missing or that of another TPM",
    "clone the volume with vol-clone")
TOOL_NO_VOLUME = Message(TOOL, "volume not found")
TOOL_VOLUME_GONE = Message(TOOL, "volume not found", "run pool-refresh to find new ones")
VOLUME_IS_BLANK = Message(TOOL, "volume is blank")
UNUSED_NOT_KNOWN = Message(TOOL, "cannot tell unused volumes before the errors above are resolved")
TOOL_VOLUME_NOT_FOUND = Message(TOOL, "volume '%1$s' not found", "run pool-refresh to find new ones")
SEE_HELP = Message(TOOL, "%1$s", "see %2$s --help")
DOMAINS_OR_ALL = Message(TOOL, "adopt requires either domains or --all")
VOLUME_PATTERN = Message(TOOL, "--volume must contain {name} or {uuid} for more than one domain")
