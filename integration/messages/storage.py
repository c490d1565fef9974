"""Errors of the storage driver with TPM volumes: src/storage.

What vol-create, vol-upload and the other operations of a pool refuse, by the file of the source.
"""

from expected import Message

# src/storage/storage_tpm_check.c and storage_backend_tpm.c

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
WIPE_BY_TRIM = Message(
    "VIR_ERR_ARGUMENT_UNSUPPORTED",
    "wipe algorithm 'trim' is not supported for TPM volume '%1$s', which is a file")
WIPE_WITHOUT_SCRUB = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "this wipe algorithm requires the program 'scrub' for TPM volume '%1$s'",
    "install it, or use the algorithm 'zero'")
RESIZE = Message("VIR_ERR_OPERATION_UNSUPPORTED", "capacity of TPM volume '%1$s' cannot be changed")

# src/storage/storage_tpm_bytes.c

CANNOT_READ = Message("VIR_ERR_SYSTEM_ERROR", "cannot read '%1$s'")
TOO_LARGE = Message("VIR_ERR_OPERATION_INVALID", "'%1$s' has %2$lld bytes, but TPM state has at most %3$llu")
NO_MEMORY_FOR_STATE = Message("VIR_ERR_SYSTEM_ERROR", "cannot allocate memory for the state of a TPM")

# src/storage/storage_tpm_child.c

NO_SWTPM_USER = Message(
    "VIR_ERR_OPERATION_UNSUPPORTED",
    "user '%1$s', who owns swtpm's local CA, not found",
    "install swtpm's tools")

# src/storage/storage_tpm_copy.c

COPY_REPLACED = Message(
    "VIR_ERR_OPERATION_FAILED",
    "TPM volume '%1$s' of pool '%2$s' was replaced by another while it was copied",
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

# src/storage/storage_tpm_dir.c

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

# src/storage/storage_tpm_helper.c

CONVERSION_FAILED = Message(
    "VIR_ERR_INTERNAL_ERROR",
    "swtpm did not convert the state for TPM volume '%1$s' of pool '%2$s'")
SWTPM_TIMEOUT = Message(
    "VIR_ERR_OPERATION_TIMEOUT",
    "swtpm for TPM volume '%1$s' of pool '%2$s' did not answer %3$s within %4$u seconds")
SWTPM_REFUSED = Message(None, "swtpm did not execute %1$s")
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

# src/storage/storage_exclusive_dir.c

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

# src/storage/storage_tpm_refresh.c

CONDITION_VARIABLE = Message("VIR_ERR_SYSTEM_ERROR", "cannot initialize condition variable")

# src/storage/storage_tpm_scratch.c

CANNOT_CHOWN = Message("VIR_ERR_SYSTEM_ERROR", "cannot change the owner of '%1$s'")

# src/storage/storage_tpm_setup.c

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

# src/storage/storage_tpm_sidecar.c

BEING_REPLACED = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is being replaced by an upload",
    "try again")
CANNOT_RENAME = Message("VIR_ERR_SYSTEM_ERROR", "cannot rename '%1$s' to '%2$s'")
DESCRIPTION_TOO_LARGE = Message(
    "VIR_ERR_CONFIG_UNSUPPORTED",
    "description of TPM volume '%1$s' has %2$zu bytes, but at most %3$d are supported")
VOLUME_DEFINITION = Message(None, "(storage_volume_definition)")
CANNOT_READ_DESCRIPTION = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot read description '%1$s' of TPM volume '%2$s' of pool '%3$s'")
DESCRIPTION_OF_OTHERS = Message(
    "VIR_ERR_OPERATION_INVALID",
    "description '%1$s' of TPM volume '%2$s' of pool '%3$s' belongs to user %4$u and has mode 0%5$o",
    "change its owner to that of the pool's directory, and its mode so that others cannot write to it")

# src/storage/storage_tpm_store.c

CANNOT_REMOVE = Message("VIR_ERR_SYSTEM_ERROR", "cannot remove volume '%1$s'")
CANNOT_STAT = Message("VIR_ERR_SYSTEM_ERROR", "cannot stat '%1$s'")
WIPED_WITH_ZEROS_ONLY = Message(
    "VIR_ERR_OPERATION_FAILED",
    "old content of TPM volume '%1$s' of pool '%2$s' was overwritten with zeros only: %3$s")
NO_WHOLE_COPY = Message(
    "VIR_ERR_RESOURCE_BUSY",
    "TPM volume '%1$s' of pool '%2$s' is in use, and no consistent copy could be read within 5 seconds",
    "suspend the guest and try again")

# src/storage/storage_tpm_temp.c

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
CANNOT_SET_ASIDE = Message("VIR_ERR_SYSTEM_ERROR", "cannot give '%1$s' a temporary name")
OLD_CONTENT_LEFT = Message(
    "VIR_ERR_SYSTEM_ERROR",
    "cannot overwrite the old content of TPM volume '%1$s' of pool '%2$s', which is left in '%3$s'")

# src/storage/storage_tpm_transfer.c

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
    "TPM volume '%1$s' of pool '%2$s' was replaced by another during the upload",
    "upload it again")
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
