"""The host of the tests of foreign files.

It has an active pool, and files outside of it that nothing may show or change.
"""

import shutil

import pytest

from host import IMAGES, POOL
from specialfiles import MARK, OUTSIDE


@pytest.fixture
def tpm_host(host):
    """A host with an active tpm pool, another pool, and files outside of both: a volume with its
    sidecar, and a file that is root's alone. All of it is there and unchanged in the end, and the
    daemon has lived through it."""
    host.define_pool()
    host.define_pool("plain", "dir", IMAGES)
    outside = host.path(OUTSIDE)
    outside.mkdir()
    sidecar = host.path(host.create_volume("volume")).with_name("volume.tpm.xml")
    sidecar.write_text(sidecar.read_text().replace("</volume>", f"<!-- {MARK} --></volume>"))
    for name in ("volume", "volume.tpm.xml"):
        host.path(f"{POOL}/{name}").rename(outside / name)
    host.virsh("pool-refresh", "tpm")
    (outside / "shadow").write_text(f"root:{MARK}:19000:0:99999:7:::\n" * 50)
    (outside / "shadow").chmod(0o600)
    before = host.contents(OUTSIDE)
    daemon = host.run("pidof", "virtstoraged").stdout

    yield host

    try:
        assert host.contents(OUTSIDE) == before
        assert host.run("pidof", "virtstoraged").stdout == daemon
        assert "running" in host.virsh("pool-info", "tpm")
    finally:
        shutil.rmtree(outside)
