"""virt-tpm-volume list: volumes, and the domains that refer to them.

Also those that only a snapshot or a saved image refers to.
"""

import pytest

import messages
import xmls
from host import POOL
from tpmtool import fails, inactive_xml, listed, patched, tool, works


def redefine_snapshot(host, name, *domains, state="shutoff", memory=""):
    """A snapshot of the guest with such definitions, which it need not have itself."""
    text = (f"<domainsnapshot><name>{name}</name><state>{state}</state>"
            f"<creationTime>1</creationTime>{memory}{''.join(domains)}</domainsnapshot>")
    host.virsh("snapshot-create", "guest", "/dev/stdin", "--redefine", input=text)


def test_list(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.define_pool("other", target="/var/lib/libvirt/images/tpms")
    tpm_host.create_volume("b", encryption="vtpm", secret=secret)
    tpm_host.create_volume("a", tpm="<tpm version='1.2'/>")
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    tpm_host.create_volume("b", pool="other")
    for name, volume in (("two", "b"), ("one", "b"), ("three", "gone")):
        tpm_host.define_guest(name, xmls.tpm_volume(volume))
    tpm_host.virsh("start", "two", "--paused")
    tpm_host.define_guest("by-itself")
    tpm_host.define_guest("without", "")
    tpm_host.define_guest("host-tpm", "<tpm model='tpm-tis'><backend type='passthrough'/></tpm>")
    before = tpm_host.contents(POOL)
    assert works(tpm_host, "list") == """\
 Pool    Volume   Version   Encrypted   Domains
-----------------------------------------------------------------------
 other   b        2.0       no          -
 tpm     a        1.2       no          -
 tpm     b        2.0       yes         one (shut off), two (running)
 tpm     blank    blank     no          -
 tpm     gone     missing   -           three (shut off)
 -       -        -         -           by-itself (shut off)
"""
    assert tpm_host.contents(POOL) == before
    assert [row[:2] for row in listed(tpm_host, "--pool", "tpm")] == [
        ["tpm", "a"], ["tpm", "b"], ["tpm", "blank"], ["tpm", "gone"]]
    assert [row[:2] for row in listed(tpm_host, "b", "gone")] == [
        ["other", "b"], ["tpm", "b"], ["tpm", "gone"]]
    assert [row[:2] for row in listed(tpm_host, "--unused")] == [
        ["other", "b"], ["tpm", "a"], ["tpm", "blank"]]
    assert listed(tpm_host, "--unused", "b") == [["other", "b", "2.0", "no", "-"]]
    assert listed(tpm_host, "--pool", "other") == [["other", "b", "2.0", "no", "-"]]
    assert messages.TOOL_VOLUME_NOT_FOUND("gone") in fails(tpm_host, "list", "--pool", "other", "gone", "b")


def test_list_of_two_definitions(tpm_host):
    """What runs is on another volume than what starts next."""
    for name in ("now", "then"):
        tpm_host.create_volume(name)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("now"))
    tpm_host.virsh("start", "guest", "--paused")
    guest.tpm = xmls.tpm_volume("then")
    guest.define("info")
    assert [row[-1] for row in listed(tpm_host)] == ["guest (running only)", "guest (next start only)"]
    assert listed(tpm_host, "--unused") == []


def test_list_of_what_only_a_snapshot_has(tpm_host):
    """In any of its two definitions."""
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("current"))
    for name in ("current", "old", "new", "unused"):
        tpm_host.create_volume(name)
    current = guest.xml()
    old, new = (current.replace("'current'", f"'{name}'") for name in ("old", "new"))
    redefine_snapshot(tpm_host, "first", current)
    redefine_snapshot(tpm_host, "second", old)
    redefine_snapshot(tpm_host, "third", old, new.replace("domain", "inactiveDomain"), state="running",
                      memory="<memory snapshot='external' file='/x'/>")
    assert [(row[1], row[-1]) for row in listed(tpm_host)] == [
        ("current", "guest (shut off)"), ("new", "guest (snapshot third)"),
        ("old", "guest (snapshot second, snapshot third)"), ("unused", "-")]
    assert [row[1] for row in listed(tpm_host, "--unused")] == ["unused"]


def managed_save(host):
    """A guest whose managed save image is on the volume 'saved', its definition on none."""
    host.create_volume("saved")
    guest = host.define_guest(tpm=xmls.tpm_volume("saved"))
    host.virsh("start", "guest", "--paused")
    host.virsh("managedsave", "guest")
    assert listed(host)[0][-1] == "guest (shut off)"
    guest.tpm = ""
    guest.define("info")


def test_list_of_what_only_a_managed_save_has(tpm_host):
    managed_save(tpm_host)
    assert listed(tpm_host) == [["tpm", "saved", "2.0", "no", "guest (managed save)"]]
    assert listed(tpm_host, "--unused") == []
    tpm_host.virsh("managedsave-remove", "guest")
    assert [row[1] for row in listed(tpm_host, "--unused")] == ["saved"]


def test_list_with_an_image_that_cannot_be_read(tpm_host):
    """A volume that only it may need must not be called unused."""
    managed_save(tpm_host)
    tpm_host.path("/var/lib/libvirt/qemu/save/guest.save").write_text("nothing of the kind")
    tpm_host.define_guest("other", xmls.tpm_volume("saved"))
    done = tool(tpm_host, "list")
    assert done.returncode == 1 and done.stderr.startswith("error: guest: ")
    assert done.stdout.endswith("other (shut off)\n")
    done = tool(tpm_host, "list", "--unused")
    assert done.returncode == 1 and done.stdout == ""
    assert messages.UNUSED_NOT_KNOWN() in done.stderr


def test_list_without_the_pool(tpm_host):
    """A domain's volumes are missing, and it is said why."""
    tpm_host.create_volume("one")
    tpm_host.define_guest("off", xmls.tpm_volume("one"))
    tpm_host.define_guest("gone", xmls.tpm_volume("one", "no&#x9b;where"))
    tpm_host.virsh("pool-destroy", "tpm")
    done = tool(tpm_host, "list")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2:] == [
        r" no\x9bwhere   one      missing   -           gone (shut off)",
        r" tpm           one      missing   -           off (shut off)"]
    assert done.stderr.splitlines() == [
        f"warning: {messages.TOOL_POOL_NOT_FOUND.plain(r'no' + chr(92) + 'x9bwhere')}",
        f"warning: {messages.TOOL_POOL_INACTIVE.plain('tpm')}"]


def test_list_of_what_is_no_tpm(tpm_host):
    """What cannot be looked at is there; what is gone is missing."""
    paths = [tpm_host.path(tpm_host.create_volume(name)) for name in ("folder", "foreign", "gone")]
    tpm_host.define_guest(tpm=xmls.tpm_volume("gone"))
    for path in paths:
        path.unlink()
    paths[0].mkdir()
    paths[1].write_text("nothing of the kind")
    assert listed(tpm_host) == [["tpm", "folder", "-", "-", "-"], ["tpm", "foreign", "-", "-", "-"],
                                ["tpm", "gone", "missing", "-", "guest (shut off)"]]


@pytest.mark.parametrize("moment", ["isActive", "XMLDesc", "hasManagedSaveImage"])
def test_list_while_a_domain_vanishes(tpm_host, moment):
    tpm_host.create_volume("one")
    for name in ("gone", "guest"):
        tpm_host.define_guest(name, xmls.tpm_volume("one"))
    done = patched(tpm_host, f"""
call = libvirt.virDomain.{moment}
def late(self, *args):
    result = call(self, *args)
    if self.name() == "gone":
        self.undefine()
    return result
libvirt.virDomain.{moment} = late
""", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" guest (shut off)\n") and "gone" not in done.stdout


@pytest.mark.parametrize("patch", [
    "call = libvirt.virDomain.managedSaveGetXMLDesc\n"
    "libvirt.virDomain.managedSaveGetXMLDesc = lambda self, flags: (self.managedSaveRemove(0), call(self, flags))",
    "call = libvirt.virDomainSnapshot.getXMLDesc\n"
    "libvirt.virDomainSnapshot.getXMLDesc = lambda self, flags: (self.delete(0), call(self, flags))"],
    ids=["image", "snapshot"])
def test_list_while_what_is_kept_vanishes(tpm_host, patch):
    managed_save(tpm_host)
    redefine_snapshot(tpm_host, "snap", inactive_xml(tpm_host))
    done = patched(tpm_host, patch, "list", "--unused")
    assert (done.returncode, done.stderr) == (0, "")
