"""The distribution's own tests of libvirt, and its programs that use libvirt."""

from conftest import cloned
from guests import Guest
from machine import SHARE

OWN_TESTS = ("smoke", "smoke-lxc", "smoke-qemu-session", "build-test")


def test_own_tests(stock, ours):
    """They end as they do with the distribution's packages: one of them needs KVM."""
    ends = []
    for template in (stock, ours):
        with cloned(template, "host") as host:
            host.run(f"mkdir -p /tmp/source && cp -r {SHARE}/packages/debian {SHARE}/examples /tmp/source", check=True)
            ends.append({name: host.run(f"cd /tmp/source && AUTOPKGTEST_TMP=/tmp debian/tests/{name}").returncode
                         for name in OWN_TESTS})
            host.forget_denied()
    assert ends[0] == ends[1]
    assert ends[1]["smoke"] == 0 and ends[1]["build-test"] == 0, ends


def test_virt_install_and_virt_clone(installed):
    """A guest with UEFI whose TPM is on a volume; its clone refers to the same volume, so only
    one of the two runs at a time."""
    installed.run("virsh vol-create-as tpm guest1 1M", check=True)
    installed.run("virt-install --name guest1 --memory 256 --disk none --boot uefi --import --noautoconsole "
                  "--virt-type qemu --osinfo detect=off,require=off --network none --graphics none "
                  "--tpm emulator,model=tpm-crb,version=2.0 --xml ./devices/tpm/storage/@pool=tpm "
                  "--xml ./devices/tpm/storage/@volume=guest1", check=True)
    assert "<storage pool='tpm' volume='guest1'/>" in installed.run("virsh dumpxml guest1", check=True).stdout
    assert len(Guest(installed, "guest1").pids()) == 2
    installed.run("virsh destroy guest1 && virt-clone --original guest1 --name guest2 --auto-clone && "
                  "virsh start guest1", check=True)
    refused = installed.run("virsh start guest2")
    assert refused.returncode != 0
    assert "TPM volume 'guest1' of pool 'tpm' is in use" in refused.stderr
