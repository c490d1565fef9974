"""Fixtures of the integration tests.

Run them with: scripts/sandbox -- /usr/bin/python3 -m pytest integration
Without those that boot a guest: ... integration -m 'not guest'
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

pytest_plugins = ["share"]
pytest.register_assert_rewrite("migrating", "specialfiles", "storm", "tpmtool", "transfers", "watched")

from host import Host  # noqa: E402
from hosts import OtherHost  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--seconds", type=int, default=15, help="how long many clients work at once")
    parser.addoption("--hosts", type=int, default=1, choices=(1, 2),
                     help="how many hosts they work on, with the pool's directory in common")
    parser.addoption("--delay", type=float, default=0,
                     help="by how many milliseconds the daemons' locks and fsyncs are delayed")
    parser.addoption("--round-trips", type=int, default=20,
                     help="how often a guest is migrated there and back")
    parser.addoption("--thorough", action="store_true",
                     help="all kinds of calls fail, in all ways, and all is done before each")
    parser.addoption("--lasting", action="store_true",
                     help="a call that has failed fails again and again")
    parser.addoption("--reports", help="a folder for what sanitizers of the daemons and the tests of faults report")
    parser.addoption("--helgrind", action="store_true", help="virtstoraged runs in it meanwhile")
    parser.addoption("--no-newer-swtpm", metavar="REASON", help="why tests that need one are left out")


def pytest_configure():
    if "LIBVIRT_SANDBOX" not in os.environ:
        pytest.exit("the tests would change this machine's own libvirt: "
                    "run them inside of scripts/sandbox", returncode=2)


def pytest_runtest_setup(item):
    """What only a newer swtpm can do is left out where there is none, with the reason."""
    if item.get_closest_marker("newer_swtpm") and not Host().swtpm_can("tpmstate-opt-lock"):
        pytest.skip(item.config.getoption("no_newer_swtpm")
                    or "swtpm here cannot hand a lock over: run scripts/check --swtpm")


@pytest.fixture
def host():
    """The sandbox that the tests run in, as a Host: empty before and after."""
    this = Host()
    yield this
    this.clean_up()


@pytest.fixture(scope="module")
def common_folder():
    """A folder that all hosts see, for a pool; it is not there yet."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="libvirt-sandbox-common."))
    path.chmod(0o755)
    yield path / "pool"
    shutil.rmtree(path)


@pytest.fixture
def tpm_host(host):
    """A host with an active tpm pool."""
    host.define_pool()
    return host


@pytest.fixture
def other_host():
    """A second Host, with daemons and files of its own: what to migrate to."""
    with OtherHost(f"{Host().name}-other") as other:
        yield other
