"""Fixtures of the integration tests.

Run them with: tools/sandbox -- /usr/bin/python3 -m pytest integration
Without those that boot a guest: ... integration -m 'not guest'
"""

import os

import pytest

pytest_plugins = ["share"]
pytest.register_assert_rewrite("storm")

from host import Host, OtherHost


def pytest_addoption(parser):
    parser.addoption("--seconds", type=int, default=15, help="how long many clients work at once")
    parser.addoption("--round-trips", type=int, default=20,
                     help="how often a guest is migrated there and back")
    parser.addoption("--reports", help="a folder for what sanitizers of the daemons report")
    parser.addoption("--helgrind", action="store_true", help="virtstoraged runs in it meanwhile")
    parser.addoption("--no-newer-swtpm", metavar="REASON", help="why tests that need one are left out")


def pytest_configure():
    if "LIBVIRT_SANDBOX" not in os.environ:
        pytest.exit("the tests would change this machine's own libvirt: "
                    "run them inside of tools/sandbox", returncode=2)


def pytest_runtest_setup(item):
    """What only a newer swtpm can do is left out where there is none, with the reason."""
    if item.get_closest_marker("newer_swtpm") and not Host().swtpm_can("tpmstate-opt-lock"):
        pytest.skip(item.config.getoption("no_newer_swtpm")
                    or "swtpm here cannot hand a lock over: run tools/check --swtpm")


@pytest.fixture
def host():
    """The sandbox that the tests run in, as a Host: empty before and after."""
    this = Host()
    yield this
    this.clean_up()


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
