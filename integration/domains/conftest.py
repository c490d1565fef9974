"""Fixtures of the tests of domains.

A directory for disks, hosts whose volumes are watched during each test, and a guest on one of these.
"""

import pytest

from watched import ONE, PASSPHRASE, watching
from host import IMAGES


@pytest.fixture
def images(tpm_host):
    """Where disks are that are no volumes."""
    folder = tpm_host.path(IMAGES)
    folder.mkdir(exist_ok=True)
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", folder / "disk", "1M")
    return folder


@pytest.fixture
def watched(tpm_host):
    """A host with the volume 'one'; it is the same after the test."""
    with watching(tpm_host) as this:
        yield this


@pytest.fixture(params=[None, PASSPHRASE], ids=["clear", "encrypted"])
def watched_both(tpm_host, request):
    """The same, twice: with the volume clear and encrypted."""
    with watching(tpm_host, request.param) as this:
        yield this


@pytest.fixture
def guest(watched):
    """A domain on the volume 'one', which is off."""
    return watched.host.define_guest(tpm=ONE)
