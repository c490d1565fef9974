"""Fixtures of the tests on complete hosts. Run them with scripts/check hosts.

A host with the distribution's packages is booted once and saved, and so is one on which
this project's packages were installed: each test begins with a clone of one of them.
"""

import contextlib
import fcntl
import pathlib
import subprocess

import pytest

from guests import FILES
from machine import SHARE, TOP, Host, default_folder, make_image, wire

FOLDER = default_folder("tests")
INSTALL = f"{SHARE}/scripts/install --yes"
# What an administrator does once: define a pool, and have it built and started.
POOL_STARTED = "virsh pool-build tpm && virsh pool-start tpm && virsh pool-autostart tpm"
POOL = f"virsh pool-define-as tpm tpm && {POOL_STARTED}"


def pytest_addoption(parser):
    parser.addoption("--suite", default="trixie", choices=("bookworm", "trixie"), help="Debian of the hosts")
    parser.addoption("--packages", help="folder of packages; build/packages/SUITE if not given")


def pytest_exception_interact(node, call):
    """Tell at once why a test failed: all of them take long."""
    node.config.get_terminal_writer().line(f"\n{call.excinfo.exconly()}")


@pytest.fixture
def tell(capsys):
    """Prints a line, also of a test that passes."""
    def line(text):
        with capsys.disabled():
            print(f"\n{text}")
    return line


@pytest.fixture(scope="session")
def suite(pytestconfig):
    return pytestconfig.getoption("--suite")


def make_repository(folder, suite, origin):
    subprocess.run([TOP / "scripts/inside/repository", folder, suite, origin], check=True)


def repack(package, old, new):
    """Give a package, and what it depends on, another version; in place."""
    folder = package.with_suffix(".d")
    subprocess.run(["dpkg-deb", "-R", package, folder], check=True)
    control = folder / "DEBIAN/control"
    control.write_text(control.read_text().replace(old, new))
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", folder, package],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-r", folder], check=True)


def gone(host):
    host.kill()
    host.remove()


@pytest.fixture(scope="session", autouse=True)
def alone():
    """Two runs would have hosts of the same names. Those of a run that was killed go."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit("the tests on hosts run already", 1)
        for left in FOLDER.glob("*/about"):
            gone(Host.existing(left.parent.name, FOLDER))
        yield


@pytest.fixture(scope="session")
def share(pytestconfig, suite, tmp_path_factory):
    """What hosts may read: the packages, those of a newer build, the distribution's, the
    scripts, and the guest of the tests."""
    packages = pathlib.Path(pytestconfig.getoption("--packages") or TOP / "build/packages" / suite)
    assert (packages / "Packages").exists(), f"no packages in {packages}: run scripts/package --suite {suite}"
    guest, swtpm = (subprocess.run([TOP / "scripts/setup", what], check=True, stdout=subprocess.PIPE,
                                   text=True).stdout.strip() for what in ("guest", "swtpm"))
    folder = tmp_path_factory.mktemp("share")
    for source, name in ((packages, "packages"), (TOP / "scripts", "scripts"), (TOP / "hosts", "hosts"),
                         (guest, "guest"), (swtpm, "swtpm"), (packages, "newer"),
                         (TOP / "subprojects/libvirt/examples", "examples"),
                         (pathlib.Path(make_image(suite)) / "debs", "distribution")):
        subprocess.run(["cp", "-r", source, folder / name], check=True)
    make_repository(folder / "distribution", suite, "Debian")
    for package in (folder / "newer").glob("*.deb"):
        version = package.name.split("_")[1]
        repack(package, version, f"{version}.1")
    make_repository(folder / "newer", suite, "libvirt-tpm-pool")
    return folder


@contextlib.contextmanager
def booted(kind, share):
    """A new host, booted and prepared, to be saved."""
    host = Host(f"stock {kind}".replace(" ", "-"), FOLDER, kind, share)
    try:
        host.start()
        host.boot()
        host.mount_share()
        host.run(f"echo 'deb [trusted=yes] file:{SHARE}/distribution ./' > /etc/apt/sources.list && "
                 f"apt-get -qq update && mkdir {FILES} && cp {SHARE}/guest/* {FILES}", check=True)
        yield host
    finally:
        gone(host)


def install(host):
    """This project's packages, on a host that is to be saved."""
    host.run(f"{INSTALL} --from {SHARE}/packages && virsh domcapabilities --virttype qemu", check=True, timeout=1200)


@pytest.fixture(scope="session")
def stock(suite, share):
    """A host with the distribution's packages, saved."""
    with booted(suite, share) as host:
        host.run("virsh domcapabilities --virttype qemu", check=True)
        host.save()
        yield host


@pytest.fixture(scope="session")
def ours(stock):
    """A host with this project's packages, saved."""
    host = stock.clone("ours")
    try:
        host.mount_share()
        install(host)
        assert host.denied() == []
        host.save()
        yield host
    finally:
        gone(host)


@contextlib.contextmanager
def cloned(template, name):
    """A clone that is gone in the end. AppArmor may have refused nothing until then."""
    host = template.clone(name)
    try:
        host.mount_share()
        yield host
        assert host.denied() == []
    finally:
        gone(host)


@pytest.fixture
def host(stock):
    """A host with the distribution's packages, of the test's own."""
    with cloned(stock, "host") as clone:
        yield clone


@pytest.fixture
def installed(ours):
    """A host with this project's packages and an active tpm pool, of the test's own."""
    with cloned(ours, "installed") as clone:
        clone.run(POOL, check=True)
        yield clone


@pytest.fixture
def pair(ours):
    """Two hosts with this project's packages and a network of the two."""
    with cloned(ours, "host1") as one, cloned(ours, "host2") as other:
        wire(one, other)
        yield one, other
