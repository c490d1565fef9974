"""Errors of src/conf: XML of volumes and domains, and what is wrong with a volume's file.

They are the same for every driver that uses a volume.
"""

from expected import Message

# src/conf/domain_conf_tpm.c

PROPERTY_OF_VOLUME = Message("VIR_ERR_CONFIG_UNSUPPORTED", "%1$s cannot be set for a TPM on a storage volume")
STORAGE_NAMES_NO_VOLUME = Message(
    "VIR_ERR_XML_ERROR",
    "<storage> of a TPM names no volume",
    "create one in a pool of type 'tpm' and name it in 'volume'")
MALFORMED_UUID_OF_VOLUME = Message("VIR_ERR_XML_ERROR", "malformed uuid '%1$s' of the TPM on volume '%2$s'")
SOURCE_WITHOUT_STORAGE = Message(
    "VIR_ERR_XML_ERROR",
    "<source type='volume'> of a TPM requires a <storage> that names the volume")
STORAGE_WITHOUT_EMULATOR = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "<storage> is only supported for a TPM with backend type 'emulator', not '%1$s'")
STORAGE_AND_SOURCE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "a TPM cannot have both <storage> and <source type='%1$s'>")
EMPTY_POOL_NAME = Message(
    "VIR_ERR_XML_ERROR",
    "<storage> of the TPM on volume '%1$s' has an empty pool name",
    "omit 'pool' to use pool '%2$s'")
DEFINITION_LOSES_VOLUME = Message(
    "VIR_ERR_OPERATION_INVALID",
    "new definition of domain '%1$s' would replace its TPM on volume '%2$s' of pool '%3$s' by an empty one",
    "keep <storage> and <source>, or remove the TPM from the domain first")
ABI_NO_VOLUME = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "source TPM is on volume '%1$s' of pool '%2$s', but target TPM is not on a volume")
ABI_OTHER_TPM = Message("VIR_ERR_CONFIG_UNSUPPORTED", "target TPM identity '%1$s' does not match source '%2$s'")

# src/conf/storage_conf_tpm.c

NAME_EMPTY = Message("VIR_ERR_INVALID_ARG", "TPM volume name cannot be empty")
NAME_DOT = Message("VIR_ERR_INVALID_ARG", "TPM volume name '%1$s' cannot begin with a dot")
NAME_LONG = Message("VIR_ERR_INVALID_ARG", "TPM volume name '%1$s' cannot be longer than %2$d bytes")
NAME_CHARACTER = Message(
    "VIR_ERR_INVALID_ARG",
    "TPM volume name '%1$s' must be valid UTF-8 without slashes, commas, backslashes and control characters")
NAME_SIDECAR = Message("VIR_ERR_INVALID_ARG", "TPM volume name '%1$s' cannot end in '%2$s'")
PROFILE_NAME = Message(
    "VIR_ERR_XML_ERROR",
    "invalid profile '%1$s' of a TPM: it must consist of letters, digits, dots, hyphens and colons")
KEY_NAME = Message(
    "VIR_ERR_XML_ERROR",
    "invalid name '%1$s' of an endorsement key: it must consist of small letters, digits and hyphens")
KEY_FINGERPRINT = Message(
    "VIR_ERR_XML_ERROR",
    "invalid fingerprint '%1$s' of endorsement key '%2$s': "
    "expected 'sha256:' and 64 hexadecimal digits in lower case")
MALFORMED_UUID = Message("VIR_ERR_XML_ERROR", "malformed uuid '%1$s' of a TPM")
UNKNOWN_BANK = Message("VIR_ERR_CONFIG_UNSUPPORTED", "unknown PCR bank '%1$s' of a TPM")
BANKS_WITH_1_2 = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "<active_pcr_banks> is not supported for TPM version 1.2")
PROFILE_WITH_1_2 = Message("VIR_ERR_CONFIG_UNSUPPORTED", "<profile> is not supported for TPM version 1.2")
TPM_IN_OTHER_POOL = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "<tpm> of volume '%1$s' is not supported in pool '%2$s' of type '%3$s'",
    "use a pool of type 'tpm'")
VTPM_IN_OTHER_POOL = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption format 'vtpm' of volume '%1$s' is not supported in pool '%2$s' of type '%3$s'",
    "use a pool of type 'tpm'")

# src/conf/storage_vol_tpm.c

CANNOT_READ_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot read TPM volume '%1$s' of pool '%2$s'")
CANNOT_ALLOCATE_VOLUME = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot allocate %1$llu bytes for TPM volume '%2$s' of pool '%3$s'")
CANNOT_RESERVE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot reserve %1$d bytes for the volatile state of TPM volume '%2$s' of pool '%3$s'")
BLANK = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' is blank",
    "upload or migrate TPM state to it, or delete it and create it again with vol-create")
HEADER_LOST = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' is damaged, as its header has lost the TPM state",
    "repair it with 'virt-tpm-volume repair'")
DAMAGED = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' is damaged, as its TPM state is truncated or inconsistent",
    "restore it from a backup with vol-upload")
HOLDS_BLOB = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' holds a bare TPM state blob, not swtpm's linear file",
    "import it with vol-upload or vol-create-from")
HOLDS_QCOW2 = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' holds a qcow2 image, not TPM state",
    "move the image elsewhere and create the volume with vol-create")
HOLDS_LUKS = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' holds a LUKS container, not TPM state",
    "move the container elsewhere and create the volume with vol-create")
HOLDS_UNKNOWN = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' does not hold TPM state",
    "move the file elsewhere and create the volume with vol-create")
NO_SECRET_KNOWN = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is encrypted, but no secret is known for it",
    "define one of usage type 'vtpm' whose usage name is '%3$s'")
SECRET_FOR_CLEAR = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has a secret, but its content is not encrypted and may have been replaced",
    "restore the volume from a backup")
AES_128 = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM state in '%1$s' is encrypted with AES-128, which is not supported",
    "decrypt it with swtpm first")
NEWER_LIBTPMS = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM state of volume '%1$s' of pool '%2$s' has format %3$u of a newer libtpms, but this host supports "
    "formats up to %4$u",
    "update libtpms")
WRONG_PASSPHRASE = Message(
    "VIR_ERR_AUTH_FAILED",
    "wrong passphrase for TPM volume '%1$s' of pool '%2$s', or its content was tampered with")
NOT_PERMANENT = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' does not hold permanent TPM state")
SWTPM_CANNOT_START = Message(
    "VIR_ERR_OPERATION_FAILED",
    "cannot start the TPM on volume '%1$s' of pool '%2$s': %3$s")
NOT_REGULAR = Message(
    "VIR_ERR_OPERATION_INVALID",
    "'%1$s' of TPM volume '%2$s' of pool '%3$s' is not a regular file")
FILE_NOT_FOUND = Message(
    "VIR_ERR_NO_STORAGE_VOL",
    "file '%1$s' of TPM volume '%2$s' of pool '%3$s' not found",
    "check that the file system is mounted, or run pool-refresh if the file was removed")
NO_PERMISSION = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "no permission to read and write '%1$s' of TPM volume '%2$s' of pool '%3$s'",
    "check its owner, mode and security label, and the access of root to a network file system")
READ_ONLY = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot write to '%1$s' of TPM volume '%2$s' of pool '%3$s'",
    "a TPM requires a writable file system")
LEASED = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' cannot be opened, as a process of this host or another one keeps a lease on "
    "'%3$s'")
CANNOT_OPEN_FILE = Message("VIR_ERR_SYSTEM_ERROR", "cannot open '%1$s' of TPM volume '%2$s' of pool '%3$s'")
IN_USE = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is in use by %3$s",
    "stop the guest or wait for the operation that uses it")
IN_USE_ELSEWHERE = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is in use, but not by a process on this host (another host on shared "
    "storage?)")
IN_USE_BY_UNKNOWN = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is in use by an unknown process on this host or another one")
CANNOT_LOCK_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot lock '%1$s' of TPM volume '%2$s' of pool '%3$s'")
NO_FILE_LOCKS = Message(
    "VIR_ERR_NO_SUPPORT",
    "TPM volume '%1$s' of pool '%2$s' cannot be locked, as open file description locks are not supported on "
    "this platform")
