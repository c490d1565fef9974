"""Errors in the XML of volumes and domains: src/conf."""

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
