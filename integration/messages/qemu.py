"""Errors of the QEMU driver with TPM volumes: src/qemu.

What is wrong with a guest's volume when it starts, migrates or is restored.
"""

from expected import Message

# src/qemu/qemu_tpm_identity.c

COPY_RUNS_IN = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume, in %4$s")
COPY_RUNS = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume")
CANNOT_CREATE_DIRECTORY = Message("VIR_ERR_SYSTEM_ERROR", "cannot create directory '%1$s'")
CANNOT_OPEN = Message("VIR_ERR_SYSTEM_ERROR", "cannot open '%1$s'")
CANNOT_LOCK = Message("VIR_ERR_SYSTEM_ERROR", "cannot lock '%1$s'")

# src/qemu/qemu_tpm_path.c

PATH_OF_VOLUME = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM of domain '%4$s' cannot use '%1$s', which belongs to TPM volume '%2$s' of pool '%3$s'",
    "use <storage pool='%3$s' volume='%2$s'/> instead of <source>")
PATH_IN_TPM_POOL = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM of domain '%2$s' cannot use '%1$s', which belongs to a storage pool of type 'tpm'",
    "use <storage> instead of <source>")
PATH_ONLY_FOR_TPM = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "'%1$s' belongs to TPM volume '%2$s' of pool '%3$s', which only the TPM of a domain can use")
PATH_IN_TPM_POOL_ONLY_FOR_TPM = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "'%1$s' belongs to a storage pool of type 'tpm', whose volumes only the TPM of a domain can use")
NO_DISK_IN_TPM_POOL = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "disk '%1$s' cannot be created in storage pool '%2$s' of type 'tpm'",
    "create it beforehand in a pool of another type")

# src/qemu/qemu_tpm_path_lock.c

STATE_IN_USE = Message("VIR_ERR_RESOURCE_BUSY", "TPM state '%1$s' is in use by %2$s of another domain")
STATE_IN_USE_ELSEWHERE = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM state '%1$s' is in use, but not by a process on this host (another host on shared storage?)")
STATE_IN_USE_BY_UNKNOWN = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM state '%1$s' is in use by an unknown process on this host or another one")
CANNOT_OPEN_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot open TPM state '%1$s'")
CANNOT_LOCK_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot lock TPM state '%1$s'")

# src/qemu/qemu_tpm_volume.c

HAS_UNSUPPORTED_FORMAT = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has format '%3$s', which is not supported yet")
HAS_UNSUPPORTED_ENCRYPTION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has encryption format '%3$s', which is not supported yet")
SWTPM_WITHOUT_FILES = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "%1$s does not support state in a file, which TPM volume '%2$s' of pool '%3$s' requires")
SWTPM_WITHOUT_PASSPHRASES = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "%1$s does not support passing a passphrase using a file descriptor, which encrypted TPM volume '%2$s' of "
    "pool '%3$s' requires")
VERSION_NOT_KNOWN = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "version of TPM volume '%1$s' of pool '%2$s' is not known",
    "set 'version' in the <backend> of the domain's TPM")
LOCK_NOT_HANDED_OVER = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is on a shared file system, but the guest's swtpm cannot hand its lock "
    "over to another host",
    "use a swtpm with the capability 'tpmstate-opt-lock'")
LOCK_LOST = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' is not locked for domain '%3$s' any more, and another host may have used it",
    "destroy the domain and start it again")

# src/qemu/qemu_tpm_volume_error.c

CLEAR_TARGET = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is not encrypted, and cannot take the encrypted TPM of the other host",
    "create an encrypted volume whose secret has the same value")
CLEAR_SINCE_SAVED = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is not encrypted, but was encrypted when the guest was saved",
    "restore the volume with the secret that it had")
TARGET_WITH_OTHER_SECRET = Message(
    "VIR_ERR_AUTH_FAILED",
    "secret of TPM volume '%1$s' of pool '%2$s' does not match the one of the other host",
    "set the same value on both hosts")
OTHER_SECRET_SINCE_SAVED = Message(
    "VIR_ERR_AUTH_FAILED",
    "cannot restore the TPM on volume '%1$s' of pool '%2$s', which had another passphrase when the guest was "
    "saved",
    "set that passphrase, or start the guest without the saved image")
DIRECTORY_NOT_SEARCHABLE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "swtpm, which runs as user '%1$s', cannot search directory '%2$s' above TPM volume '%3$s' of pool '%4$s'",
    "allow it, for example with chmod o+x")
SWTPM_CANNOT_WRITE = Message("VIR_ERR_SYSTEM_ERROR", "swtpm cannot write TPM volume '%1$s' of pool '%2$s'")

# src/qemu/qemu_tpm_volume_file.c

CANNOT_STAT_VOLUME_PATH = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat TPM volume '%1$s'")
CANNOT_CHOWN_VOLUME = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot change the owner of TPM volume '%1$s' to %2$u:%3$u")
CANNOT_CHMOD_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the mode of TPM volume '%1$s' to 0600")
LOCK_NOT_TAKEN_OVER = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is on a shared file system, but swtpm of this host cannot take its lock "
    "over from another host",
    "use a swtpm with the capability 'tpmstate-opt-lock'")
CANNOT_HAND_OVER_LOCK = Message(
    "VIR_ERR_SYSTEM_ERROR", "cannot hand over the lock of TPM volume '%1$s' of pool '%2$s' to swtpm")

# src/qemu/qemu_tpm_volume_policy.c

VOLUME_REQUIRED = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM of domain '%1$s' is not on a storage volume, which 'swtpm_require_volume' in qemu.conf requires",
    "create a volume with vol-create and name it in the domain, or adopt the existing state with "
    "'virt-tpm-volume adopt'")

# src/qemu/qemu_tpm_volume_resolve.c

POOL_NOT_FOUND = Message("VIR_ERR_NO_STORAGE_POOL", "storage pool '%1$s' of TPM volume '%2$s' not found")
POOL_INACTIVE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "storage pool '%1$s' of TPM volume '%2$s' is not active",
    "start it with pool-start")
POOL_OF_OTHER_TYPE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "storage pool '%1$s' of TPM volume '%2$s' is of type '%3$s', not 'tpm'")
HAS_OTHER_VERSION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' holds a TPM of version %3$s, but the domain requires version %4$s")
HAS_NO_IDENTITY_AND_NONE_EXPECTED = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has no identity, and cannot take the TPM of the guest",
    "restore its description '%1$s.tpm.xml' and set the uuid from it in the <source> of the guest's TPM")
HAS_NO_IDENTITY = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has no identity, expected '%3$s'",
    "restore its description '%1$s.tpm.xml'")
IDENTITY_NOT_KNOWN = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has identity '%3$s', but the identity of the guest's TPM is not known",
    "if they are the same, set the uuid in the <source> of the guest's TPM")
HAS_OTHER_IDENTITY = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has identity '%3$s', expected '%4$s'")
CHANGED_WHILE_STARTING = Message(
    "VIR_ERR_OPERATION_FAILED",
    "TPM volume '%1$s' of pool '%2$s' changed while the guest was starting",
    "start it again")

# src/qemu/qemu_tpm_volume_snapshot.c

NO_INTERNAL_SNAPSHOT = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "internal snapshots of a guest that is shut off are not supported for TPM volume '%1$s' of pool '%2$s', "
    "which has format 'raw'",
    "take the snapshot while the guest is running")
SNAPSHOT_WITHOUT_TPM = Message(
    "VIR_ERR_SNAPSHOT_REVERT_RISKY",
    "snapshot '%1$s' does not include the TPM on volume '%2$s' of pool '%3$s', which would not be reverted "
    "with the disks")
