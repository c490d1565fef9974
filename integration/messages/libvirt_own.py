"""Errors that the patches add to libvirt's own files.

What our own files report is in the tables beside this one.
"""

from expected import Message

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
