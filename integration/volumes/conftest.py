"""Fixtures of the tests of volumes.

What vol-create is given for a volume that is encrypted, and the secret for it.
"""

import pytest


@pytest.fixture
def encrypted(tpm_host):
    """What makes a volume encrypted; the passphrase is 'open sesame'."""
    return {"encryption": "vtpm", "secret": tpm_host.define_secret("open sesame", "tpm-key")}
