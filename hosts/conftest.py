"""Fixtures of the tests on complete hosts. Run them with scripts/check host.

A host with the distribution's packages is booted once for each suite and saved; each
test begins with a clone of it, or of one on which the packages were installed.
"""

import pathlib
import subprocess

import pytest

from machine import SHARE, TOP, Host, default_folder


def pytest_addoption(parser):
    parser.addoption("--suite", default="trixie", choices=("bookworm", "trixie"), help="Debian of the hosts")
    parser.addoption("--packages", help="folder of packages; build/packages/SUITE if not given")


@pytest.fixture(scope="session")
def share(pytestconfig, tmp_path_factory):
    """What hosts may read: the packages, the scripts, and the guest of the tests."""
    suite = pytestconfig.getoption("--suite")
    packages = pathlib.Path(pytestconfig.getoption("--packages") or TOP / "build/packages" / suite)
    assert (packages / "Packages").exists(), f"no packages in {packages}: run scripts/package --suite {suite}"
    guest = subprocess.run([TOP / "scripts/setup", "guest"], check=True, stdout=subprocess.PIPE, text=True)
    folder = tmp_path_factory.mktemp("share")
    # What the image was made of, for the way back: hosts have no network.
    Host("image", default_folder(), suite).image()
    subprocess.run(["cp", "-r", default_folder().parent / f"debs.{suite}", folder / "distribution"], check=True)
    with open(folder / "distribution/Packages", "w", encoding="utf-8") as index:
        subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder / "distribution", stdout=index, check=True)
    for source, name in ((packages, "packages"), (TOP / "scripts", "scripts"), (guest.stdout.strip(), "guest")):
        subprocess.run(["cp", "-r", source, folder / name], check=True)
    return folder


@pytest.fixture(scope="session")
def stock(pytestconfig, share):
    """A booted host with the distribution's packages, saved."""
    suite = pytestconfig.getoption("--suite")
    host = Host(f"stock-{suite}", default_folder(), suite, share)
    host.kill()
    host.remove()
    host.start()
    host.boot()
    host.run("virsh capabilities", check=True)
    host.save()
    yield host
    host.remove()


@pytest.fixture
def host(stock):
    """A host with the distribution's packages, of the test's own."""
    clone = stock.clone(f"{stock.name}-clone")
    clone.mount_share()
    clone.run(f"echo 'deb [trusted=yes] file:{SHARE}/distribution ./' > /etc/apt/sources.list && apt-get -qq update",
              check=True)
    yield clone
    clone.kill()
    clone.remove()


@pytest.fixture
def installed(host):
    """The same with this project's packages."""
    host.run(f"{SHARE}/scripts/install --from {SHARE}/packages --yes", check=True, timeout=1200)
    return host
