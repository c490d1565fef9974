"""Errors about the state of a TPM, its passphrase and locks: src/util.

There are few: most functions there return what they find, and their callers report it.
"""

from expected import Message

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

# src/util/virofdlock.c

PROCESS = Message(None, "process %1$lld")
PROCESS_NAMED = Message(None, "process %1$lld (%2$s)")
