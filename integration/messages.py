"""The error texts that a user sees: each stands here once, and tests take it from here.

A row is named for the cause, and has libvirt's error code, the text and the remedy as they stand in
the source. messages.NOT_FOUND("one", "tpm") is what can be looked for in a command's output."""

from expected import TOOL, Message

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
    "TPM volume name '%1$s' cannot contain a slash, comma, backslash or control character")
NAME_SIDECAR = Message("VIR_ERR_INVALID_ARG", "TPM volume name '%1$s' cannot end in '%2$s'")
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

VOLUME_REQUIRED = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM of domain '%1$s' is not on a storage volume, which 'swtpm_require_volume' in qemu.conf requires",
    "create a volume with vol-create and name it in the domain, or adopt the existing state with "
    "'virt-tpm-volume adopt'")
POOL_NOT_FOUND = Message("VIR_ERR_NO_STORAGE_POOL", "storage pool '%1$s' of TPM volume '%2$s' not found")
POOL_INACTIVE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "storage pool '%1$s' of TPM volume '%2$s' is not active",
    "start it with pool-start")
POOL_OF_OTHER_TYPE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "storage pool '%1$s' of TPM volume '%2$s' is of type '%3$s', not 'tpm'")
HAS_UNSUPPORTED_FORMAT = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has format '%3$s', which is not supported yet")
HAS_UNSUPPORTED_ENCRYPTION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' has encryption format '%3$s', which is not supported yet")
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
CANNOT_STAT_VOLUME_PATH = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat TPM volume '%1$s'")
CANNOT_CHOWN_VOLUME = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot change the owner of TPM volume '%1$s' to %2$u:%3$u")
CANNOT_CHMOD_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the mode of TPM volume '%1$s' to 0600")
COPY_RUNS_IN = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume, in %4$s")
COPY_RUNS = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM with uuid '%1$s' on volume '%2$s' of pool '%3$s' is already running from a copy of the volume")
CANNOT_CREATE_DIRECTORY = Message("VIR_ERR_SYSTEM_ERROR", "cannot create directory '%1$s'")
CANNOT_OPEN = Message("VIR_ERR_SYSTEM_ERROR", "cannot open '%1$s'")
CANNOT_LOCK = Message("VIR_ERR_SYSTEM_ERROR", "cannot lock '%1$s'")
LOCK_NOT_TAKEN_OVER = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is on a shared file system, but swtpm of this host cannot take its lock "
    "over from another host",
    "use a swtpm with the capability 'tpmstate-opt-lock'")
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
    "saved")
CHANGED_WHILE_STARTING = Message(
    "VIR_ERR_OPERATION_FAILED",
    "TPM volume '%1$s' of pool '%2$s' changed while the guest was starting",
    "start it again")
CANNOT_HAND_OVER_LOCK = Message("VIR_ERR_SYSTEM_ERROR", "cannot hand over the lock of a TPM volume to swtpm")
NO_INTERNAL_SNAPSHOT = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "internal snapshots of a guest that is shut off are not supported for TPM volume '%1$s' of pool '%2$s', "
    "which has format 'raw'",
    "take the snapshot while the guest is running")
SNAPSHOT_WITHOUT_TPM = Message(
    "VIR_ERR_SNAPSHOT_REVERT_RISKY",
    "snapshot '%1$s' does not include the TPM on volume '%2$s' of pool '%3$s', which would not be reverted "
    "with the disks")
LOCK_NOT_HANDED_OVER = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "TPM volume '%1$s' of pool '%2$s' is on a shared file system, but the guest's swtpm cannot hand its lock "
    "over to another host",
    "use a swtpm with the capability 'tpmstate-opt-lock'")
DIRECTORY_NOT_SEARCHABLE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "swtpm, which runs as user %1$u, cannot search directory '%2$s' above TPM volume '%3$s' of pool '%4$s'",
    "allow it, for example with chmod o+x")
SWTPM_CANNOT_WRITE = Message("VIR_ERR_SYSTEM_ERROR", "swtpm cannot write TPM volume '%1$s' of pool '%2$s'")

# src/storage/storage_backend_tpm.c

POOL_PATH_CHARACTER = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "path '%1$s' of tpm pool '%2$s' cannot contain a comma, backslash or control character")
CANNOT_STAT_POOL = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat directory '%1$s' of tpm pool '%2$s'")
POOL_DIRECTORY_MISSING = Message(
    "VIR_ERR_OPERATION_INVALID",
    "directory '%1$s' of tpm pool '%2$s' does not exist",
    "create it with pool-build")
POOL_DIRECTORY_WRITABLE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "directory '%1$s' of tpm pool '%2$s' has mode 0%3$o, which lets other users replace TPM volumes",
    "remove their write permission with chmod")
NO_VOLUME_OF_PATH = Message("VIR_ERR_NO_STORAGE_VOL", "no storage vol with matching path '%1$s'")
PATH_NOT_REGULAR = Message("VIR_ERR_OPERATION_INVALID", "volume '%1$s' is not a regular file")
NO_PERMISSION_TO_REFRESH = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "no permission to read and write '%1$s' of TPM volume '%2$s'",
    "check its owner, mode and security label, and the access of root to a network file system")
CANNOT_OPEN_VOLUME_PATH = Message("VIR_ERR_SYSTEM_ERROR", "cannot open volume '%1$s'")
NOT_FOUND_IN_OTHER_DIRECTORY = Message(
    "VIR_ERR_NO_STORAGE_VOL",
    "TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is not the one that held its volumes",
    "check that the file system is mounted")
NOT_FOUND_IN_EMPTY_DIRECTORY = Message(
    "VIR_ERR_NO_STORAGE_VOL",
    "TPM volume '%1$s' not found in pool '%2$s', whose directory '%3$s' is empty",
    "check that the file system is mounted")
NOT_FOUND = Message(
    "VIR_ERR_NO_STORAGE_VOL",
    "TPM volume '%1$s' not found in pool '%2$s'",
    "create it with vol-create")
CANNOT_STAT_DIRECTORY = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat directory '%1$s'")
QCOW_ENCRYPTION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption format 'qcow' of TPM volume '%1$s' is not secure, and not supported",
    "use 'vtpm'")
LUKS_NOT_YET = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption format 'luks' of TPM volume '%1$s' is not supported yet",
    "use 'vtpm'")
OTHER_ENCRYPTION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption format '%1$s' of TPM volume '%2$s' is not supported",
    "use 'vtpm'")
NOT_ONE_SECRET = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption of TPM volume '%1$s' requires exactly one <secret>")
QCOW2_NOT_YET = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "format 'qcow2' of TPM volume '%1$s' is not supported yet",
    "use 'raw'")
OTHER_FORMAT = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "format '%1$s' of TPM volume '%2$s' is not supported",
    "use 'raw'")
BACKING_STORE = Message("VIR_ERR_CONFIG_UNSUPPORTED", "TPM volume '%1$s' cannot have a backing store")
CAPACITY = Message(
    "VIR_ERR_INVALID_ARG",
    "capacity of TPM volume '%1$s' is %2$llu bytes, but at most %3$llu are supported",
    "omit it to use 1 MiB")
IDENTITY_OF_NO_COPY = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "'identity' of TPM volume '%1$s' is only supported by vol-create-from")
BLANK_COPY = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "manufacture='no' of TPM volume '%1$s' is only supported by vol-create")
NEW_IDENTITY_OF_IMPORT = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "identity='new' of TPM volume '%1$s' requires a volume of a tpm pool as source")
EXPORT_PREFIX = Message(None, "cannot copy to pool '%1$s' of type '%2$s', use vol-download instead")
EXPORT_NOT_CLEAR = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "cannot copy TPM volume '%1$s' of pool '%2$s' to pool '%3$s' of type '%4$s', as it does not hold clear TPM "
    "state",
    "use vol-download")
PATH_EXISTS = Message("VIR_ERR_OPERATION_INVALID", "volume target path '%1$s' already exists")
POOL_NOT_ACTIVE = Message("VIR_ERR_OPERATION_INVALID", "storage pool '%1$s' is not active")
NO_VOLUME_OF_NAME = Message("VIR_ERR_NO_STORAGE_VOL", "no storage vol with matching name '%1$s'")
BEING_CREATED = Message("VIR_ERR_RESOURCE_BUSY", "TPM volume '%1$s' of pool '%2$s' is being created")
CANNOT_STAT = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat '%1$s'")
WIPED_WITH_ZEROS_ONLY = Message(
    "VIR_ERR_OPERATION_FAILED",
    "old content of TPM volume '%1$s' of pool '%2$s' was overwritten with zeros only: %3$s")
WIPE_BY_TRIM = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "wipe algorithm 'trim' is not supported for TPM volume '%1$s', which is a file")
WIPE_WITHOUT_SCRUB = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "this wipe algorithm requires the program 'scrub' for TPM volume '%1$s'",
    "install it, or use the algorithm 'zero'")
RESIZE = Message("VIR_ERR_OPERATION_UNSUPPORTED", "capacity of TPM volume '%1$s' cannot be changed")

# src/storage/storage_tpm_copy.c

COPY_REPLACED = Message(
    "VIR_ERR_OPERATION_FAILED",
    "TPM volume '%1$s' of pool '%2$s' was replaced by another while it was copied",
    "try again")
BEING_REPLACED = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is being replaced by an upload",
    "try again")
IMPORT_NOT_A_FILE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot import '%1$s' as a TPM volume, as it is neither a regular file nor a block device")
IMPORT_NOT_LOCAL = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "cannot import '%1$s' as TPM volume '%2$s', as it is of type '%3$s' and not a file or block device of this "
    "host",
    "copy it to a pool of type 'dir' first")
IMPORT_FOREIGN = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot import '%1$s' as TPM volume '%2$s', as its content is '%3$s' and not permanent TPM state")
IMPORT_ENCRYPTED = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM state in '%1$s' is encrypted, but TPM volume '%2$s' has no secret",
    "give it the secret of the state in <encryption format='vtpm'>")
IMPORT_WITH_OTHER_BANKS = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "active PCR banks of TPM volume '%1$s' cannot differ from those of the imported TPM")
COPY_OF_OTHER_VERSION = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "TPM volume '%1$s' cannot have version %2$s, as '%3$s' holds a TPM of version %4$s")
COPY_WITH_OTHER_BANKS = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "active PCR banks of TPM volume '%1$s' cannot differ from those of '%2$s'")
COPY_WITH_OTHER_PROFILE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "profile of TPM volume '%1$s' cannot differ from that of '%2$s'")

# src/storage/storage_tpm_files.c

CANNOT_READ = Message("VIR_ERR_SYSTEM_ERROR", "cannot read '%1$s'")
TOO_LARGE = Message("VIR_ERR_OPERATION_INVALID", "'%1$s' has %2$lld bytes, but TPM state has at most %3$llu")
NO_MEMORY_FOR_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot allocate memory for the state of a TPM")
CANNOT_OPEN_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot open TPM volume '%1$s' of pool '%2$s'")
NO_WHOLE_COPY = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is in use, and no consistent copy could be read within 5 seconds",
    "suspend the guest and try again")
CANNOT_CHOWN = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the owner of '%1$s'")
CANNOT_CHMOD = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the mode of '%1$s'")
CANNOT_CREATE_FILE = Message("VIR_ERR_SYSTEM_ERROR", "cannot create file '%1$s'")
CANNOT_LOCK_FILE = Message("VIR_ERR_SYSTEM_ERROR", "cannot lock file '%1$s'")
CANNOT_LOCK_NEW_FILE = Message(
    "VIR_ERR_OPERATION_FAILED",
    "cannot lock a new file for TPM volume '%1$s' in directory '%2$s'",
    "check that locks work on its file system")
CANNOT_WRITE = Message("VIR_ERR_SYSTEM_ERROR", "cannot write %1$zu bytes to '%2$s'")
CONTENT_IS_NO_STATE = Message("VIR_ERR_INTERNAL_ERROR", "content for '%1$s' is not TPM state")
CANNOT_ALLOCATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot allocate %1$zu bytes for '%2$s'")
CONTENT_IS_NOT_WHOLE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "content for '%1$s' is '%2$s' and not complete TPM state")
VOLUME_EXISTS = Message("VIR_ERR_STORAGE_VOL_EXIST", "'%1$s'")
CANNOT_RENAME = Message("VIR_ERR_SYSTEM_ERROR", "cannot rename '%1$s' to '%2$s'")
CANNOT_SET_ASIDE = Message("VIR_ERR_SYSTEM_ERROR", "cannot give '%1$s' a temporary name")
OLD_CONTENT_LEFT = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot overwrite the old content of TPM volume '%1$s' of pool '%2$s', which is left in '%3$s'")
DESCRIPTION_TOO_LARGE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "description of TPM volume '%1$s' has %2$zu bytes, but at most %3$d are supported")
MALFORMED_CAPACITY = Message("VIR_ERR_XML_ERROR", "malformed capacity element")
VOLUME_DEFINITION = Message(None, "(storage_volume_definition)")
MISSING_VOLUME_NAME = Message("VIR_ERR_XML_ERROR", "missing volume name element")
CANNOT_READ_DESCRIPTION = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot read description '%1$s' of TPM volume '%2$s' of pool '%3$s'")
DESCRIPTION_OF_OTHERS = Message(
    "VIR_ERR_OPERATION_INVALID",
    "description '%1$s' of TPM volume '%2$s' of pool '%3$s' belongs to user %4$u and has mode 0%5$o",
    "change its owner to that of the pool's directory, and its mode so that others cannot write to it")
CANNOT_REMOVE = Message("VIR_ERR_SYSTEM_ERROR", "cannot remove volume '%1$s'")

# src/storage/storage_tpm_helper.c

CONVERSION_FAILED = Message(
    "VIR_ERR_INTERNAL_ERROR",
    "swtpm did not convert the state for TPM volume '%1$s' of pool '%2$s'")
SWTPM_TIMEOUT = Message(
    "VIR_ERR_OPERATION_TIMEOUT",
    "swtpm for TPM volume '%1$s' of pool '%2$s' did not answer %3$s within %4$u seconds")
SWTPM_REFUSED = Message("VIR_ERR_OPERATION_FAILED", "swtpm did not execute %1$s")
HELPER_TIMEOUT = Message(
    "VIR_ERR_OPERATION_TIMEOUT",
    "%1$s did not finish with TPM volume '%2$s' of pool '%3$s' within %4$u seconds")
HELPER_ENDED = Message(
    "VIR_ERR_OPERATION_ABORTED",
    "%1$s was ended by signal %2$d while it opened TPM volume '%3$s' of pool '%4$s'")
HELPER_FAILED = Message(
    "VIR_ERR_INTERNAL_ERROR",
    "%1$s could not open TPM volume '%2$s' of pool '%3$s', exit status %4$d: %5$s")
HELPER_RETURNED_OTHER = Message(
    "VIR_ERR_INTERNAL_ERROR",
    "%1$s returned an invalid description of TPM volume '%2$s' of pool '%3$s'")

# src/storage/storage_tpm_pool.c

DIRECTORY_IS_SHARED = Message(
    "VIR_ERR_OPERATION_FAILED",
    "pool '%1$s' cannot use directory '%2$s', which pool '%3$s' uses",
    "a tpm pool requires a directory of its own")
FILE_OF_TPM_POOL = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot write to volume '%1$s' of pool '%2$s', which is file '%3$s' of tpm pool '%4$s'",
    "use pool '%4$s'")
STATE_OF_OTHER_POOL_IN_USE = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "cannot write to volume '%1$s' of pool '%2$s', which holds TPM state that is in use by %3$s")
STATE_OF_OTHER_POOL_IN_USE_ELSEWHERE = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "cannot write to volume '%1$s' of pool '%2$s', which holds TPM state that is in use")

# src/storage/storage_tpm_setup.c

NO_SWTPM_USER = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "user '%1$s', who owns swtpm's local CA, not found",
    "install swtpm's tools")
SETUP_WITHOUT_VERSION = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "swtpm_setup of this host does not support version %1$s of TPM volume '%2$s'")
SETUP_TIMEOUT = Message(
    "VIR_ERR_OPERATION_TIMEOUT",
    "swtpm_setup did not create TPM volume '%1$s' within %2$u seconds",
    "check that swtpm's local CA can be used")
SETUP_FAILED = Message(
    "VIR_ERR_OPERATION_FAILED",
    "swtpm_setup could not create TPM volume '%1$s', exit status %2$d: %3$s")
CANNOT_OPEN_CREATED = Message("VIR_ERR_SYSTEM_ERROR", "cannot open '%1$s', which swtpm_setup has created")
SETUP_CREATED_OTHER = Message(
    "VIR_ERR_INTERNAL_ERROR",
    "swtpm_setup did not create the requested TPM for volume '%1$s'")

# src/storage/storage_tpm_transfer.c

CONDITION_VARIABLE = Message("VIR_ERR_SYSTEM_ERROR", "cannot initialize condition variable")
UPLOAD_BLANK = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload blank content to TPM volume '%1$s' of pool '%2$s'",
    "use vol-wipe to make it blank")
UPLOAD_DAMAGED = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload truncated or inconsistent TPM state to TPM volume '%1$s' of pool '%2$s'")
UPLOAD_VOLATILE = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload volatile TPM state to TPM volume '%1$s' of pool '%2$s'",
    "upload the permanent state")
UPLOAD_FOREIGN = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload content of type '%3$s' to TPM volume '%1$s' of pool '%2$s'",
    "upload the state of a TPM")
UPLOAD_CLEAR = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload clear TPM state to TPM volume '%1$s' of pool '%2$s', which is encrypted",
    "upload it to a volume without encryption, and convert that with vol-create-from")
UPLOAD_ENCRYPTED = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload encrypted TPM state to TPM volume '%1$s' of pool '%2$s', which is not encrypted",
    "upload it to a volume with that encryption, and convert that with vol-create-from")
UPLOAD_REPLACED = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' was replaced by another during the upload")
UPLOAD_NOT_OPENED_PREFIX = Message(
    None,
    "cannot open the TPM state that was uploaded to TPM volume '%1$s' of pool '%2$s'")
UPLOAD_OTHER_TPM = Message(
    "VIR_ERR_OPERATION_INVALID",
    "cannot upload another TPM than the one that TPM volume '%1$s' of pool '%2$s' was created for",
    "upload it to a volume of its own")
UPLOAD_NOT_WHOLE = Message(
    "VIR_ERR_INVALID_ARG",
    "cannot upload to a part of TPM volume '%1$s' of pool '%2$s'",
    "upload at most %3$llu bytes from offset 0")

# src/storage/storage_tpm_verify.c

OTHER_TPM_THAN_DESCRIBED = Message(
    "VIR_ERR_OPERATION_INVALID",
    "TPM volume '%1$s' of pool '%2$s' holds another TPM than described, whose endorsement key %3$s has "
    "fingerprint %4$s, expected %5$s")

# src/storage/tpmhelper.c

CANNOT_WRITE_TOLD = Message("VIR_ERR_SYSTEM_ERROR", "cannot write what a TPM has told")
CANNOT_WRITE_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot write the state of a TPM")

# src/storage/tpmhelper_swtpm.c

CANNOT_CREATE_SOCKETS = Message("VIR_ERR_SYSTEM_ERROR", "cannot create sockets for swtpm")
CANNOT_SET_UP_SOCKETS = Message("VIR_ERR_SYSTEM_ERROR", "cannot set up sockets for swtpm")
CANNOT_CREATE_FOR_STATE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot create '%1$s' for the state of a TPM")

# src/util/virtpmsecret.c

SECRET_NOT_DEFINED = Message(
    "VIR_ERR_NO_SECRET",
    "secret %1$s of TPM volume '%2$s' of pool '%3$s' is not defined",
    "define it with secret-define, with usage type 'vtpm'")
SECRET_OF_OTHER_USAGE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "secret %1$s of TPM volume '%2$s' of pool '%3$s' has usage type '%4$s'",
    "use a secret with usage type 'vtpm' or none")
SECRET_WITHOUT_VALUE = Message(
    "VIR_ERR_NO_SECRET",
    "secret %1$s of TPM volume '%2$s' of pool '%3$s' has no value",
    "set it with secret-set-value")
CANNOT_PASS_PASSPHRASE = Message(
    "VIR_ERR_OPERATION_FAILED",
    "cannot pass the passphrase of TPM volume '%1$s' of pool '%2$s' to a child process")
SECRET_EMPTY = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "secret of TPM volume '%1$s' of pool '%2$s' is empty",
    "set its value with secret-set-value")

# src/util/virtpmstate.c

CANNOT_READ_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot read TPM state from '%1$s'")
CANNOT_STAT_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat TPM volume '%1$s' of pool '%2$s'")
CANNOT_ALLOCATE_VOLUME = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot allocate %1$llu bytes for TPM volume '%2$s' of pool '%3$s'")
CANNOT_RESERVE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot reserve %1$d bytes for the volatile state of TPM volume '%2$s' of pool '%3$s'")
CANNOT_WRITE_VOLUME = Message("VIR_ERR_SYSTEM_ERROR", "cannot write TPM volume '%1$s' of pool '%2$s'")
CANNOT_ALLOCATE_SPACE = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot allocate space for TPM volume '%1$s' of pool '%2$s'")
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
PROCESS = Message(None, "process %1$lld")
PROCESS_NAMED = Message(None, "process %1$lld (%2$s)")
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

# What the patches add to libvirt's own files

VTPM_FOR_A_DISK = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "encryption format 'vtpm' is not supported for disks")
NO_DRIVER_SUPPORT = Message("VIR_ERR_CONFIG_UNSUPPORTED", "driver does not support a TPM on a storage volume")
PATH_WITH_COMMA = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "swtpm cannot use the path '%1$s', which has a comma in it")
SETUP_WITHOUT_PASSPHRASES = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "swtpm_setup does not support passing a passphrase using a file descriptor")
NO_INSPECTION = Message("VIR_ERR_NO_SUPPORT", "volumes of a storage pool of type '%1$s' cannot be inspected")
CHOWN_OF_SEVERAL_NAMES = Message(
    "VIR_ERR_OPERATION_FAILED",
    "cannot chown '%1$s' in '%2$s': it has more than one name")
SWTPM_DIED = Message(
    "VIR_ERR_OPERATION_FAILED",
    "swtpm died and reported '%1$s'",
    "see its log '%2$s'")
SWTPM_NOT_LISTENING = Message(
    "VIR_ERR_OPERATION_TIMEOUT",
    "swtpm did not listen on its socket within %1$d seconds: see its log '%2$s'")
PIDFILE_NOT_REGULAR = Message("VIR_ERR_OPERATION_FAILED", "pid file '%1$s' is not a regular file")
LOG_NOT_REGULAR = Message("VIR_ERR_OPERATION_FAILED", "swtpm's log '%1$s' is not a regular file with one name")
CANNOT_OPEN_LOG = Message("VIR_ERR_SYSTEM_ERROR", "cannot open swtpm's log '%1$s'")
CANNOT_CHOWN_LOG = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the owner of swtpm's log '%1$s'")
SWTPM_OF_UNKNOWN_QEMU = Message(
    "VIR_ERR_OPERATION_INVALID",
    "swtpm of domain '%1$s' is used by a QEMU process that libvirt does not manage")
STREAM_IS_FULL = Message("VIR_ERR_OPERATION_FAILED", "cannot write more than %1$llu bytes to stream")
POOL_BUSY = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "storage pool '%1$s' is busy with a job on one of its volumes",
    "try again later")
SERVER_CLOSING = Message("VIR_ERR_RPC", "server '%1$s' is being closed")

# tools/virt-tpm-volume

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


# All of them.
ALL = [row for row in list(globals().values()) if isinstance(row, Message)]
