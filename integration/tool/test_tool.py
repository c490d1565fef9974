"""virt-tpm-volume: adopt, check, repair and list."""

import concurrent.futures
import contextlib
import re
import subprocess
import uuid
import xml.etree.ElementTree as etree

import pytest

import messages
import xmls
from expected import Output
from host import GUEST_DIR, IMPLICIT, POOL, TOP, Session, wait_for
from tpm import ECC_EK, ENDORSEMENT, LOCKOUT, OWNER, RSA_EK, Tpm

# For <source> of a TPM's backend.
ELSEWHERE = "/var/lib/libvirt/images"
TOOL = TOP / "tools/virt-tpm-volume"
# The run directory of the storage driver.
RUN = "/run/libvirt/storage"


def tool(host, *args):
    """Run the tool; returns the CompletedProcess. It never shows a traceback."""
    done = host.run("/usr/bin/python3", TOOL, *args)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def works(host, *args):
    done = tool(host, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fails(host, *args):
    """What it prints on stderr, where it must fail."""
    done = tool(host, *args)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def patched(host, patch, *args):
    """Run the tool after a piece of Python, which does something at some moment."""
    script = f"""
import os, runpy, sys
import libvirt
define = libvirt.virConnect.defineXML
{patch}
sys.argv = ["virt-tpm-volume", *{list(map(str, args))!r}]
runpy.run_path("{TOOL}", run_name="__main__")
"""
    return host.run("/usr/bin/python3", "-c", script)


def make_tpm(host, name):
    """Start a guest once, so that it has a TPM."""
    host.virsh("start", name, "--paused")
    host.virsh("destroy", name)


def define_with_tpm(host, name="guest", **tpm):
    """A guest with a TPM that libvirt has made by itself."""
    guest = host.define_guest(name, xmls.tpm_emulator(**tpm))
    make_tpm(host, name)
    return guest


def tpm_of(host, name="guest", *options):
    text = host.virsh("dumpxml", name, *options)
    host.validate(text, "domain")
    return etree.fromstring(text).find("devices/tpm")


def is_on_volume(host, name="guest", volume=None, pool="tpm"):
    tpm = tpm_of(host, name, "--inactive")
    assert tpm.find("storage").attrib == {"pool": pool, "volume": volume or name}
    assert [child.tag for child in tpm.find("backend")] == ["source"]
    return True


def is_unchanged(host, before, name="guest"):
    return host.virsh("dumpxml", name, "--inactive", "--security-info") == before


def inactive_xml(host, name="guest"):
    return host.virsh("dumpxml", name, "--inactive", "--security-info")


def starts(host, name, on_volume):
    host.virsh("start", name, "--paused")
    assert (tpm_of(host, name).find("storage") is not None) == on_volume
    host.virsh("destroy", name)


def volumes(host, pool="tpm"):
    return [line.split()[0] for line in host.virsh("vol-list", pool).splitlines()]


def no_pool_is_left(host):
    return host.virsh("pool-list", "--all", "--name").split() == ["tpm"]


# adopt

SOURCES = {
    "none": "",
    "dir": f"<source type='dir' path='{ELSEWHERE}/state'/>",
    "file": f"<source type='file' path='{ELSEWHERE}/state/one'/>",
}


@pytest.mark.parametrize("version", ["2.0", "1.2"])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_adopt(tpm_host, source, encrypted, version):
    if source == "file":
        # swtpm_setup replaces the file.
        tpm_host.run("install", "-d", "-o", "tss", f"{ELSEWHERE}/state")
    inner = SOURCES[source]
    if encrypted:
        secret = tpm_host.define_secret("open sesame", "tpm-key")
        inner += f"<encryption secret='{secret}'/>"
    model = "tpm-crb" if version == "2.0" else "tpm-tis"
    define_with_tpm(tpm_host, version=version, model=model, inner=inner)
    before = tpm_host.contents(IMPLICIT, ELSEWHERE)
    state, = [path for path in before if path.endswith(("permall", "/one"))]

    printed = works(tpm_host, "adopt", "guest")
    assert f"guest: adopted as volume 'guest' of pool 'tpm'; the old state stays in {state}\n" in printed
    assert printed.endswith("adopted 1, skipped 0, failed 0\n")
    assert is_on_volume(tpm_host)
    assert tpm_host.contents(IMPLICIT, ELSEWHERE) == before
    assert no_pool_is_left(tpm_host)
    volume = etree.fromstring(tpm_host.virsh("vol-dumpxml", "guest", "--pool", "tpm"))
    assert volume.find("tpm").get("version") == version
    found = volume.find("target/encryption/secret")
    assert (found is not None) == encrypted
    assert not encrypted or found.get("uuid") == secret
    starts(tpm_host, "guest", on_volume=True)
    assert tpm_host.contents(IMPLICIT, ELSEWHERE) == before


@pytest.mark.guest
@pytest.mark.parametrize("encrypted", [False, True])
def test_guest_unseals_after_adoption(tpm_host, encrypted):
    inner = ""
    if encrypted:
        inner = f"<encryption secret='{tpm_host.define_secret('open sesame', 'tpm-key')}'/>"
    guest = tpm_host.define_guest(tpm=xmls.tpm_emulator(inner=inner))
    sealed = guest.boot("seal")["sealed"]
    works(tpm_host, "adopt", "guest")
    tpm_host.path(IMPLICIT).rename(tpm_host.path(f"{IMPLICIT}.away"))
    try:
        guest.tpm = xmls.tpm_volume("guest")
        assert guest.boot("unseal")["unsealed"] == sealed
    finally:
        tpm_host.path(f"{IMPLICIT}.away").rename(tpm_host.path(IMPLICIT))


def test_rest_of_the_xml_is_unchanged(tpm_host):
    """Also what is in other name spaces, in metadata, or a password."""
    guest = define_with_tpm(tpm_host, inner="<active_pcr_banks><sha256/></active_pcr_banks>")
    text = guest.xml().replace("<domain type='qemu'>", """\
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <title>&lt;tpm/&gt; — ключ</title>
  <metadata><app:a xmlns:app='http://example.org/app'><tpm x='&quot;&#10;&gt;'/></app:a></metadata>
  <qemu:commandline><qemu:env name='X' value='y'/></qemu:commandline>""")
    text = text.replace("</devices>", "<graphics type='vnc' passwd='secret'/></devices>")
    text = text.replace("<backend", "<alias name='ua-tpm'/><backend debug='3' persistent_state='yes'")
    tpm_host.virsh("define", "/dev/stdin", input=text)
    before = inactive_xml(tpm_host)
    assert "passwd='secret'" in before and "persistent_state" in before
    works(tpm_host, "adopt", "guest")
    after = inactive_xml(tpm_host)
    device = re.compile(r"    <tpm model.*?</tpm>\n", re.S)
    assert device.sub("", after) == device.sub("", before)
    tpm = tpm_of(tpm_host)
    assert tpm.find("backend").attrib == {"type": "emulator", "version": "2.0", "debug": "3"}
    assert tpm.find("alias").get("name") == "ua-tpm"
    assert is_on_volume(tpm_host)


def test_adopt_by_uuid_into_another_pool(tpm_host):
    guest = define_with_tpm(tpm_host)
    tpm_host.define_pool("other", target="/var/lib/libvirt/images/tpms")
    works(tpm_host, "adopt", "--pool", "other", "--volume", "tpm-of-{name}-{uuid}", guest.uuid)
    name = f"tpm-of-guest-{guest.uuid}"
    assert is_on_volume(tpm_host, volume=name, pool="other")
    assert volumes(tpm_host, "other") == [name] and volumes(tpm_host) == []


def test_state_dir(tpm_host):
    define_with_tpm(tpm_host)
    tpm_host.run("mkdir", ELSEWHERE)
    tpm_host.run("cp", "-a", IMPLICIT, f"{ELSEWHERE}/copy")
    guest = tpm_host.virsh("domuuid", "guest")
    assert messages.NO_STATE_IN_DIRECTORY(f"{ELSEWHERE}/none/{guest}/tpm2") in fails(
        tpm_host, "adopt", "--state-dir", f"{ELSEWHERE}/none", "guest")
    printed = works(tpm_host, "adopt", "--state-dir", f"{ELSEWHERE}/copy", "guest")
    assert f"the old state stays in {ELSEWHERE}/copy/" in printed


def test_adopt_on_a_remote_connection(host, other_host):
    other_host.define_pool()
    define_with_tpm(other_host)
    before = other_host.contents(IMPLICIT)
    assert "adopted 1, skipped 0, failed 0" in works(host, "-c", other_host.uri, "adopt", "guest")
    assert is_on_volume(other_host)
    assert other_host.contents(IMPLICIT) == before
    assert works(host, "-c", other_host.uri, "check") == "guest: ok\n"


def test_adopt_in_a_session(host):
    """Of an unprivileged user, whose states are elsewhere."""
    host.install_guest()
    with Session("/var/lib/libvirt/images/home") as session:
        text = xmls.domain("guest", str(uuid.uuid4()), xmls.tpm_emulator(), "idle", GUEST_DIR)
        # The user has no access to where the console goes.
        text = re.sub("<serial.*</serial>", "", text, flags=re.S)
        session.virsh("define", "/dev/stdin", input=text)
        make_tpm(session, "guest")
        session.define_pool()
        assert f"the old state stays in {session.home}/.config/libvirt/qemu/swtpm/" in works(
            session, "adopt", "guest")
        starts(session, "guest", on_volume=True)
        assert works(session, "check") == "guest: ok\n"


def test_second_run_finds_nothing_to_do(tpm_host):
    define_with_tpm(tpm_host)
    works(tpm_host, "adopt", "guest")
    before, files = inactive_xml(tpm_host), tpm_host.contents(POOL, IMPLICIT)
    printed = works(tpm_host, "adopt", "guest", "guest")
    assert printed.count(f"guest: skipped: {messages.IS_ADOPTED.plain('guest', 'tpm')}\n") == 2
    assert "adopted 0, skipped 2, failed 0" in printed
    assert is_unchanged(tpm_host, before)
    assert tpm_host.contents(POOL, IMPLICIT) == files


def test_twenty_with_one_that_fails(tpm_host):
    """Its secret is not there; the others are adopted, and it starts on its old state
    once the secret is back."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    names = [f"vm{number:02}" for number in range(20)]
    for name in names:
        inner = f"<encryption secret='{secret}'/>" if name == "vm09" else ""
        define_with_tpm(tpm_host, name, inner=inner)
    tpm_host.define_guest("never-started")
    tpm_host.define_guest("without", "")
    before, old = inactive_xml(tpm_host, "vm09"), tpm_host.contents(IMPLICIT)
    tpm_host.virsh("secret-undefine", secret)

    done = tool(tpm_host, "adopt", "--all")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("never-started: skipped: ") and messages.NO_STATE_IN_DIRECTORY() in Output(lines[0])
    assert [line.split(":")[0] for line in lines[1:20]] == [name for name in names if name != "vm09"]
    assert lines[20] == f"without: skipped: {messages.HAS_NO_TPM.plain()}"
    assert lines[21] == "adopted 19, skipped 2, failed 1"
    assert lines[22].startswith("failed: vm09: ") and secret in lines[22]
    assert done.stderr.startswith("error: vm09: ") and done.stderr.count("\n") == 1
    assert volumes(tpm_host) == [name for name in names if name != "vm09"]
    assert tpm_host.contents(IMPLICIT) == old
    assert is_unchanged(tpm_host, before, "vm09")
    assert no_pool_is_left(tpm_host)

    tpm_host.virsh("secret-define", "/dev/stdin", input=xmls.secret(secret, "tpm-key"))
    tpm_host.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input="open sesame")
    for name in names:
        starts(tpm_host, name, on_volume=name != "vm09")
    assert "adopted 1, skipped 21, failed 0" in works(tpm_host, "adopt", "--all")
    starts(tpm_host, "vm09", on_volume=True)


def test_dry_run_changes_nothing(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    define_with_tpm(tpm_host, "one", inner=f"<encryption secret='{secret}'/>")
    define_with_tpm(tpm_host, "two")
    tpm_host.define_guest("three", "")
    tpm_host.define_guest("four")
    before = [inactive_xml(tpm_host, name) for name in ("one", "two", "three", "four")]
    files = tpm_host.contents(POOL, IMPLICIT)
    printed = works(tpm_host, "adopt", "--dry-run", "--all")
    assert re.search(f"one: would be adopted as volume 'one' of pool 'tpm', from {IMPLICIT}/", printed)
    assert f"three: skipped: {messages.HAS_NO_TPM.plain()}\n" in printed
    assert "to adopt 2, skipped 2, failed 0\n" in printed
    assert [inactive_xml(tpm_host, name) for name in ("one", "two", "three", "four")] == before
    assert tpm_host.contents(POOL, IMPLICIT) == files
    assert no_pool_is_left(tpm_host) and volumes(tpm_host) == []


# adopt: what goes wrong

DIE_BEFORE_DEFINITION = "libvirt.virConnect.defineXML = lambda *_: os.kill(os.getpid(), 9)"
DIE_AFTER_VOLUME = """
create = libvirt.virStoragePool.createXMLFrom
libvirt.virStoragePool.createXMLFrom = lambda *args: (create(*args), os.kill(os.getpid(), 9))
"""


@pytest.mark.parametrize("moment", [DIE_AFTER_VOLUME, DIE_BEFORE_DEFINITION], ids=["volume", "definition"])
def test_killed_before_the_reference(tpm_host, moment):
    """The domain starts with its old state. The next run goes on with the volume."""
    define_with_tpm(tpm_host)
    before = inactive_xml(tpm_host)
    done = patched(tpm_host, moment, "adopt", "guest")
    assert done.returncode == -9
    assert is_unchanged(tpm_host, before)
    assert volumes(tpm_host) == ["guest"]
    assert no_pool_is_left(tpm_host) == (moment == DIE_BEFORE_DEFINITION)
    starts(tpm_host, "guest", on_volume=False)

    file = tpm_host.path(f"{POOL}/guest").stat()
    printed = works(tpm_host, "adopt", "--dry-run", "guest")
    assert "as volume 'guest' of pool 'tpm', which an earlier run has made, from" in printed
    printed = works(tpm_host, "adopt", "guest")
    assert "adopted as volume 'guest' of pool 'tpm', which an earlier run has made;" in printed
    assert tpm_host.path(f"{POOL}/guest").stat().st_ino == file.st_ino
    assert is_on_volume(tpm_host)
    assert no_pool_is_left(tpm_host)
    starts(tpm_host, "guest", on_volume=True)


@pytest.mark.guest
def test_killed_and_used_meanwhile(tpm_host):
    """A volume that is out of date is not taken over."""
    guest = tpm_host.define_guest()
    guest.boot("info")
    patched(tpm_host, DIE_BEFORE_DEFINITION, "adopt", "guest")
    guest.boot("seal")
    before = inactive_xml(tpm_host)
    assert messages.EXISTS_WITH_OTHER_TPM("guest", "tpm") in fails(tpm_host, "adopt", "guest")
    assert is_unchanged(tpm_host, before)


def test_definition_fails(tpm_host):
    """The volume goes again: nothing refers to it."""
    define_with_tpm(tpm_host)
    before, old = inactive_xml(tpm_host), tpm_host.contents(IMPLICIT)
    done = patched(tpm_host, """
def fail(self, xml):
    return define(self, xml.replace("<devices>", "<devices><disk/>"))
libvirt.virConnect.defineXML = fail
""", "adopt", "guest")
    assert done.returncode == 1
    assert done.stderr.startswith("error: guest: ") and done.stderr.count("\n") == 1
    assert is_unchanged(tpm_host, before)
    assert tpm_host.contents(POOL) == {} and volumes(tpm_host) == []
    assert tpm_host.contents(IMPLICIT) == old
    starts(tpm_host, "guest", on_volume=False)


def test_started_meanwhile(tpm_host):
    define_with_tpm(tpm_host)
    before = inactive_xml(tpm_host)
    done = patched(tpm_host, """
def late(self, xml):
    if "<storage" in xml:
        self.lookupByName("guest").createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    return define(self, xml)
libvirt.virConnect.defineXML = late
""", "adopt", "guest")
    assert messages.STARTED_MEANWHILE() in done.stderr
    assert is_unchanged(tpm_host, before)
    assert volumes(tpm_host) == []


def test_changed_meanwhile(tpm_host):
    """The volume is not the TPM that the guest has by now."""
    define_with_tpm(tpm_host)
    before = inactive_xml(tpm_host)
    done = patched(tpm_host, f"""
create = libvirt.virStoragePool.createXMLFrom
def late(self, xml, source, flags):
    volume = create(self, xml, source, flags)
    with open(source.path(), "r+b") as state:
        state.seek(-1, 2)
        last = state.read(1)[0]
        state.seek(-1, 2)
        state.write(bytes([last ^ 1]))
    return volume
libvirt.virStoragePool.createXMLFrom = late
""", "adopt", "guest")
    assert messages.STATE_CHANGED() in done.stderr
    assert is_unchanged(tpm_host, before)
    assert volumes(tpm_host) == []


def test_damaged_state(tpm_host):
    guest = define_with_tpm(tpm_host)
    state = tpm_host.path(f"{IMPLICIT}/{guest.uuid}/tpm2/tpm2-00.permall")
    state.write_bytes(state.read_bytes()[:-100])
    before, old = inactive_xml(tpm_host), tpm_host.contents(IMPLICIT)
    message = fails(tpm_host, "adopt", "guest")
    assert message.startswith("error: guest: ") and message.count("\n") == 1
    assert is_unchanged(tpm_host, before)
    assert tpm_host.contents(POOL) == {} and tpm_host.contents(IMPLICIT) == old
    assert no_pool_is_left(tpm_host)


def test_secret_that_does_not_fit(tpm_host):
    """Neither domain starts. They are not made to by the way."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    encrypted = xmls.tpm_emulator(inner=f"<encryption secret='{secret}'/>")
    guest = define_with_tpm(tpm_host)
    guest.tpm = encrypted
    guest.define("info")
    refused(tpm_host, messages.STATE_NOT_ENCRYPTED())
    tpm_host.virsh("undefine", "guest", "--tpm")

    guest = tpm_host.define_guest(tpm=encrypted)
    make_tpm(tpm_host, "guest")
    guest.tpm = xmls.tpm_emulator()
    guest.define("info")
    refused(tpm_host, messages.STATE_ENCRYPTED())


def refused(host, message, *args):
    """The tool refuses the guest, and changes nothing."""
    before = inactive_xml(host)
    # A guest that runs may write to its state.
    running = host.virsh("domstate", "guest") == "running"
    files = host.contents(POOL) if running else host.contents(POOL, IMPLICIT)
    said = fails(host, "adopt", *args, "guest")
    assert message in said
    assert (host.contents(POOL) if running else host.contents(POOL, IMPLICIT)) == files
    assert is_unchanged(host, before)
    assert "tpm-adopt-" not in host.virsh("pool-list", "--name")


@pytest.mark.parametrize("state", ["running", "paused"])
def test_running_is_refused(tpm_host, state):
    define_with_tpm(tpm_host)
    tpm_host.virsh("start", "guest", *(["--paused"] if state == "paused" else []))
    refused(tpm_host, messages.ACTIVE())


def test_managed_save_is_refused(tpm_host):
    define_with_tpm(tpm_host)
    tpm_host.virsh("start", "guest", "--paused")
    tpm_host.virsh("managedsave", "guest")
    refused(tpm_host, messages.MANAGED_SAVE())
    tpm_host.virsh("managedsave-remove", "guest")
    works(tpm_host, "adopt", "guest")


def test_transient_is_refused(tpm_host):
    guest = tpm_host.define_guest()
    tpm_host.virsh("undefine", "guest")
    tpm_host.virsh("create", "/dev/stdin", input=guest.xml("idle"))
    refused(tpm_host, messages.TRANSIENT())


def test_never_started_is_refused(tpm_host):
    guest = tpm_host.define_guest()
    message = messages.NO_STATE_IN_DIRECTORY(f"{IMPLICIT}/{guest.uuid}/tpm2")
    refused(tpm_host, message)
    refused(tpm_host, message, "--dry-run")


def test_started_but_state_is_gone(tpm_host):
    guest = define_with_tpm(tpm_host)
    state = tpm_host.path(f"{IMPLICIT}/{guest.uuid}/tpm2/tpm2-00.permall")
    state.unlink()
    refused(tpm_host, messages.NO_STATE_FILE(state))


def test_empty_state_is_refused(tpm_host):
    guest = define_with_tpm(tpm_host)
    state = tpm_host.path(f"{IMPLICIT}/{guest.uuid}/tpm2/tpm2-00.permall")
    state.write_bytes(b"")
    refused(tpm_host, messages.STATE_EMPTY(state))


def test_nothing_to_adopt_is_skipped(tpm_host):
    tpm_host.define_guest("without", "")
    tpm_host.define_guest("host-tpm", "<tpm model='tpm-tis'><backend type='passthrough'/></tpm>")
    tpm_host.create_volume("one")
    tpm_host.define_guest("on-volume", xmls.tpm_volume("one"))
    tpm_host.virsh("start", "on-volume", "--paused")
    printed = works(tpm_host, "adopt", "without", "host-tpm", "on-volume")
    assert printed.splitlines() == [
        f"without: skipped: {messages.HAS_NO_TPM.plain()}",
        f"host-tpm: skipped: {messages.TPM_OF_OTHER_TYPE.plain('passthrough')}",
        f"on-volume: skipped: {messages.IS_ADOPTED.plain('one', 'tpm')}",
        "adopted 0, skipped 3, failed 0"]


def test_volume_of_another_tpm_is_kept(tpm_host):
    tpm_host.create_volume("guest")
    define_with_tpm(tpm_host)
    refused(tpm_host, messages.EXISTS_WITH_OTHER_TPM("guest", "tpm"))
    works(tpm_host, "adopt", "--volume", "two", "guest")
    assert is_on_volume(tpm_host, volume="two")


def test_pools_that_are_refused(host):
    define_with_tpm(host)
    refused(host, messages.TOOL_POOL_NOT_FOUND("tpm"))
    host.define_pool(start=False)
    refused(host, messages.TOOL_POOL_INACTIVE("tpm"))
    host.define_pool("plain", "dir", ELSEWHERE)
    refused(host, messages.TOOL_POOL_OF_OTHER_TYPE("plain", "dir"), "--pool", "plain")


def test_domain_that_is_not_there(tpm_host):
    define_with_tpm(tpm_host)
    done = tool(tpm_host, "adopt", "nobody", "guest")
    assert done.returncode == 1
    assert "error: nobody: " in done.stderr
    assert "adopted 1, skipped 0, failed 1\nfailed: nobody: " in done.stdout


def test_pool_that_has_the_state(tpm_host):
    """A pool of the user's is used as it is, refreshed, and stays."""
    define_with_tpm(tpm_host, inner=f"<source type='dir' path='{ELSEWHERE}/state'/>")
    tpm_host.define_pool("plain", "dir", f"{ELSEWHERE}/state")
    tpm_host.virsh("pool-destroy", "plain")
    refused(tpm_host, messages.STATE_IN_INACTIVE_POOL("plain"))
    tpm_host.virsh("pool-start", "plain")
    works(tpm_host, "adopt", "guest")
    assert sorted(tpm_host.virsh("pool-list", "--name").split()) == ["plain", "tpm"]


def test_snapshots_are_warned_of(tpm_host):
    define_with_tpm(tpm_host)
    text = f"<domainsnapshot><name>snap</name><state>shutoff</state><creationTime>1</creationTime>" \
           f"{inactive_xml(tpm_host)}</domainsnapshot>"
    tpm_host.virsh("snapshot-create", "guest", "/dev/stdin", "--redefine", input=text)
    done = tool(tpm_host, "adopt", "guest")
    assert done.returncode == 0
    assert done.stderr == f"warning: {messages.HAS_SNAPSHOTS.plain('guest', 1)}\n"


@pytest.mark.parametrize("name, shown", [
    *((name, name) for name in ("a,b", ".dot", "x.tpm.xml", "b" * 240)), ("\udcff", r"\xdcff")])
def test_dry_run_refuses_what_the_real_run_does(tpm_host, name, shown):
    tpm_host.define_guest(tpm=xmls.tpm_emulator())
    make_tpm(tpm_host, "guest")
    told = fails(tpm_host, "adopt", "guest", "--volume", name, "--dry-run")
    assert messages.INVALID_VOLUME_NAME(shown) in told
    assert fails(tpm_host, "adopt", "guest", "--volume", name) == told


# check

NOT_VERIFIED = "not verified: the TPM or its description has no endorsement key"


def test_check(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one")
    tpm_host.create_volume("two", encryption="vtpm", secret=secret)
    tpm_host.create_volume("three", tpm="<tpm version='1.2'/>")
    tpm_host.create_volume("four", tpm="<tpm manufacture='no'/>")
    before = tpm_host.contents(POOL)
    assert works(tpm_host, "check") == f"four: blank\none: ok\nthree: {NOT_VERIFIED}\ntwo: ok\n"
    assert works(tpm_host, "check", "two", "one") == "two: ok\none: ok\n"
    assert tpm_host.contents(POOL) == before


def check_fails(host, name, others=()):
    """check fails for one volume, and leaves nothing; returns why."""
    before = host.contents(POOL)
    done = tool(host, "check")
    assert done.returncode == 1
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines.keys() == {name, *others}
    assert all(lines[other] == "ok" for other in others)
    assert lines[name].startswith("FAILED: ")
    assert host.contents(POOL) == before
    return Output(lines[name])


def test_check_with_wrong_passphrase(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.create_volume("two")
    tpm_host.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input="wrong")
    assert messages.WRONG_PASSPHRASE("one", "tpm") in check_fails(tpm_host, "one", ["two"])
    tpm_host.virsh("secret-undefine", secret)
    assert messages.SECRET_NOT_DEFINED(f"uuid='{secret}'", "one", "tpm") in check_fails(tpm_host, "one", ["two"])


def test_check_with_other_endorsement_keys(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.create_volume("two")
    sidecar = tpm_host.path(f"{POOL}/one.tpm.xml")
    sidecar.write_text(re.sub("(sha256:)....", r"\g<1>beef", sidecar.read_text()))
    assert messages.OTHER_TPM_THAN_DESCRIBED("one", "tpm") in check_fails(tpm_host, "one", ["two"])


def test_check_of_another_tpm_in_its_place(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    for name, what, message in (
            ("clear", {}, messages.DESCRIPTION_MISSING()),
            ("encrypted", {"encryption": "vtpm", "secret": secret},
             messages.OTHER_TPM_THAN_DESCRIBED("encrypted", "tpm"))):
        path = tpm_host.path(tpm_host.create_volume(name, **what))
        tpm_host.create_volume("other", **what)
        tpm_host.run("cp", f"{POOL}/other", path)
        tpm_host.virsh("vol-delete", "other", "--pool", "tpm")
        assert message in check_fails(tpm_host, name)
        tpm_host.virsh("vol-delete", name, "--pool", "tpm")


def test_check_of_a_lost_description(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.with_name("one.tpm.xml").unlink()
    assert messages.DESCRIPTION_MISSING() in check_fails(tpm_host, "one")


def test_check_of_damaged_volumes(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.create_volume("two")
    path.write_bytes(path.read_bytes()[:3000])
    assert messages.DAMAGED("one", "tpm") in check_fails(tpm_host, "one", ["two"])
    assert messages.TOOL_VOLUME_GONE() in tool(tpm_host, "check", "nothing").stdout


def test_check_of_a_volume_in_use(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("start", "guest", "--paused")
    before = tpm_host.contents(POOL).keys()
    assert re.match("one: (ok|not checked: .*in use)", works(tpm_host, "check"))
    assert tpm_host.contents(POOL).keys() == before


def copy_files(host, source, target):
    for suffix in ("", ".tpm.xml"):
        host.run("cp", "-a", f"{source}{suffix}", f"{target}{suffix}")


def test_check_tells_of_shared_identities(tpm_host):
    tpm_host.define_pool("other", target="/var/lib/libvirt/images/tpms")
    path = tpm_host.create_volume("one")
    tpm_host.create_volume("three")
    copy_files(tpm_host, path, f"{POOL}/two")
    copy_files(tpm_host, path, "/var/lib/libvirt/images/tpms/one")
    for pool in ("tpm", "other"):
        tpm_host.virsh("pool-refresh", pool)
    identity = etree.fromstring(tpm_host.virsh("vol-dumpxml", path)).findtext("tpm/uuid")
    printed = works(tpm_host, "check")
    assert printed.startswith("one: ok\nthree: ok\ntwo: ok\n")
    shared = printed.splitlines()[-1]
    assert set(re.split(", |: ", shared)) == {"one", "two", "other/one", f"the same TPM (uuid {identity})"}
    assert works(tpm_host, "check", "three") == "three: ok\n"


def test_check_writes_nothing(tpm_host):
    """On a pool that is full and read-only."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    assert tpm_host.run("mount", "-n", "-t", "tmpfs", "-o", "size=1m", "none", POOL).returncode == 0
    try:
        tpm_host.virsh("pool-refresh", "tpm")
        tpm_host.create_volume("one")
        tpm_host.create_volume("two", encryption="vtpm", secret=secret)
        tpm_host.run("sh", "-c", f"cat /dev/zero > {POOL}/.fill")
        assert works(tpm_host, "check") == "one: ok\ntwo: ok\n"
        tpm_host.run("mount", "-n", "-o", "remount,ro", POOL)
        assert works(tpm_host, "check") == "one: ok\ntwo: ok\n"
        assert not list(tpm_host.path(RUN).glob("tpm-state.*"))
    finally:
        tpm_host.run("umount", "-n", POOL)


def test_two_checks_at_once(tpm_host):
    names = [f"guest{number}" for number in range(4)]
    for name in names:
        tpm_host.create_volume(name)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for printed in pool.map(lambda _: works(tpm_host, "check"), range(3)):
            assert printed == "".join(f"{name}: ok\n" for name in names)


def test_check_while_a_volume_is_deleted(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.create_volume("two")
    done = patched(tpm_host, """
list_volumes = libvirt.virStoragePool.listAllVolumes
def late(self, flags):
    found = list_volumes(self, flags)
    libvirt.virStoragePool.listAllVolumes = list_volumes
    self.storageVolLookupByName("one").delete()
    return found
libvirt.virStoragePool.listAllVolumes = late
""", "check")
    assert (done.stdout, done.stderr, done.returncode) == ("one: deleted meanwhile\ntwo: ok\n", "", 0)


@contextlib.contextmanager
def hanging_ca(host):
    """With a local CA that hangs, and is ended then."""
    with host.in_place("swtpm_localca", "exec sleep 1000"):
        try:
            yield
        finally:
            host.run("pkill", "-xf", "sleep 1000")


def test_while_a_volume_is_made(tpm_host):
    """check and list tell of a volume that is being made; it is no failure."""
    tpm_host.create_volume("one")
    with hanging_ca(tpm_host):
        making = subprocess.Popen(["virsh", "-q", "vol-create", "tpm", "/dev/stdin"], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        making.stdin.write(xmls.volume("two"))
        making.stdin.close()
        wait_for("the CA is asked", lambda: tpm_host.run("pgrep", "-xf", "sleep 1000").stdout, timeout=60)
        done = tool(tpm_host, "check")
        assert messages.BEING_CREATED("two", "tpm") in done.stdout
        assert done.stdout.startswith("one: ok\ntwo: not checked: ") and done.stdout.count("\n") == 2
        assert (done.returncode, done.stderr) == (2, "")
        assert ["tpm", "two", "being made", "no", "-"] in listed(tpm_host)
        assert ["tpm", "one", "2.0", "no", "-"] in listed(tpm_host)
    assert making.wait(timeout=30) != 0
    assert works(tpm_host, "check") == "one: ok\n"
    assert volumes(tpm_host) == ["one"]


def test_check_of_a_file_that_is_no_state(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.run("truncate", "-s", "20G", f"{POOL}/sparse")
    tpm_host.virsh("pool-refresh", "tpm")
    done = tool(tpm_host, "check")
    assert re.fullmatch("one: ok\nsparse: FAILED: .*\n", done.stdout)
    assert messages.TOO_LARGE(f"{POOL}/sparse", 20 << 30) in done.stdout
    assert (done.returncode, done.stderr) == (1, "")


def make_state(host, path, *options):
    """Make a state by swtpm_setup, as others do."""
    done = host.run("swtpm_setup", "--tpm2", "--tpm-state", f"file://{path}", *options)
    assert done.returncode == 0, done.stderr


def test_check_of_what_cannot_be_verified(tpm_host, tmp_path):
    """Another TPM without endorsement key in the place of one: that cannot be known."""
    make_state(tpm_host, tmp_path / "first")
    make_state(tpm_host, tmp_path / "second")
    path = tpm_host.create_volume("one", tpm="<tpm manufacture='no'/>")
    tpm_host.virsh("vol-upload", "one", tmp_path / "first", "--pool", "tpm")
    sidecar = tpm_host.path(f"{path}.tpm.xml")
    sidecar.write_text(re.sub("<endorsement.*?(/>|</endorsement>)", "", sidecar.read_text(), flags=re.S))
    for state in ("first", "second"):
        tpm_host.path(path).write_bytes((tmp_path / state).read_bytes())
        assert works(tpm_host, "check") == f"one: {NOT_VERIFIED}\n"


def test_check_tells_of_lockout(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    with Tpm(path) as tpm:
        tpm.guess_passwords(1)
    tried = works(tpm_host, "check")
    assert re.fullmatch("one: ok; tries [12] of 3\n", tried)
    with Tpm(path) as tpm:
        tpm.guess_passwords(2, index=0x01800002)
    assert works(tpm_host, "check") == "one: ok; in lockout, tries 3 of 3\n"


def test_check_tells_of_pcr_banks(tpm_host):
    path = tpm_host.create_volume("one")
    assert works(tpm_host, "check") == "one: ok\n"
    make_state(tpm_host, path, "--reconfigure", "--pcr-banks", "sha1,sha256,sha384")
    assert works(tpm_host, "check") == ("one: ok; PCR banks sha1, sha256, sha384 are active, "
                                        "not sha256 as it is described\n")


# What a guest may do to its TPM.
USES = {
    "keeps other keys": lambda tpm: (tpm.remove(RSA_EK), tpm.keep_key(RSA_EK),
                                     tpm.remove(ECC_EK), tpm.keep_key(ECC_EK)),
    "sets passwords": lambda tpm: (tpm.set_password(ENDORSEMENT, b"secret"),
                                   tpm.set_password(LOCKOUT, b"secret"),
                                   tpm.set_password(OWNER, b"secret")),
    "clears it": lambda tpm: (tpm.clear(), tpm.keep_key(ECC_EK), tpm.forbid_clear()),
}


@pytest.mark.parametrize("what", USES)
def test_use_does_not_change_who_it_is(tpm_host, what):
    """Whatever a guest does, its TPM is known, and can be copied and imported; what is
    shown is its endorsement key, and no key that the guest has put there."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    endorsements = tpm_host.endorsements("one")
    assert set(endorsements) == {"rsa2048", "secp384r1"}
    with Tpm(path) as tpm:
        USES[what](tpm)
    assert works(tpm_host, "check") == "one: ok\n"
    tpm_host.virsh("vol-clone", "one", "two", "--pool", "tpm")
    assert tpm_host.endorsements("two") == endorsements
    tpm_host.define_pool("files", "dir", "/var/lib/libvirt/images/files")
    tpm_host.run("cp", path, "/var/lib/libvirt/images/files/state")
    tpm_host.virsh("pool-refresh", "files")
    tpm_host.copy_volume("state", "three", inputpool="files")
    assert tpm_host.endorsements("three") == endorsements


def test_another_endorsement_seed(tpm_host):
    """The firmware of a guest can have a new seed made. Then the certificates are of no
    key that the TPM has: they are not shown with it, and it is not said to be verified."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    with Tpm(path) as tpm:
        tpm.change_endorsement_seed()
    assert works(tpm_host, "check") == f"one: {NOT_VERIFIED}\n"
    tpm_host.virsh("vol-clone", "one", "two", "--pool", "tpm")
    tpm_host.define_pool("files", "dir", "/var/lib/libvirt/images/files")
    tpm_host.run("cp", path, "/var/lib/libvirt/images/files/state")
    tpm_host.virsh("pool-refresh", "files")
    tpm_host.copy_volume("state", "three", inputpool="files")
    assert tpm_host.endorsements("three") == {}


def test_inspection(tpm_host):
    """vol-dumpxml --inspect is what the schema says, and is taken by vol-create."""
    path = tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    text = tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm", "--inspect")
    tpm_host.validate(text, "storagevol")
    assert etree.fromstring(text).find("tpm/inspection").get("verified") == "yes"
    assert tpm_host.describe("one").find("tpm/inspection") is None
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("vol-create", "tpm", "/dev/stdin", input=text.replace("<name>one<", "<name>two<"))
    assert "read only" in tpm_host.virsh_fails("-r", "vol-dumpxml", path, "--inspect")
    tpm_host.define_pool("files", "dir", "/var/lib/libvirt/images/files")
    tpm_host.virsh("vol-create-as", "files", "plain", "1M")
    assert messages.NO_INSPECTION("dir") in tpm_host.virsh_fails("vol-dumpxml", "plain", "--pool", "files", "--inspect")


def test_check_of_the_longest_name(tpm_host):
    tpm_host.create_volume("b" * 230)
    assert works(tpm_host, "check") == "b" * 230 + ": ok\n"


# list

def listed(host, *args):
    """What list prints, as rows, without the titles."""
    return [re.split(" {3,}", line.strip()) for line in works(host, "list", *args).splitlines()[2:]]


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


# The command line

def test_command_line(tpm_host):
    assert "COMMAND" in works(tpm_host, "--help")
    assert "--dry-run" in works(tpm_host, "adopt", "--help")
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+\n", works(tpm_host, "--version"))
    for args, message in [
            ((), "required: COMMAND"),
            (("adopt",), messages.DOMAINS_OR_ALL.plain()),
            (("adopt", "--all", "guest"), messages.DOMAINS_OR_ALL.plain()),
            (("adopt", "--all", "--volume", "x"), messages.VOLUME_PATTERN.plain()),
            (("adopt", "a", "b", "--volume", "x"), messages.VOLUME_PATTERN.plain()),
            (("-c", "nothing:///", "check"), ""),
            (("check", "--connect", "nothing:///"), ""),
            (("check", "--pool", "nothing"), messages.TOOL_POOL_NOT_FOUND.plain("nothing")),
            (("list", "--pool", "nothing"), messages.TOOL_POOL_NOT_FOUND.plain("nothing")),
            (("list", "nothing"), messages.TOOL_VOLUME_NOT_FOUND.plain("nothing"))]:
        said = fails(tpm_host, *args)
        assert re.match(r"error: .*" + re.escape(message), said), said
        assert said.count("\n") == 1
    assert works(tpm_host, "-c", "qemu:///system", "check") == ""


def test_interrupt(tpm_host):
    """What is under way is finished, the rest is left, and it is said."""
    for name in ("one", "two"):
        define_with_tpm(tpm_host, name)
    done = patched(tpm_host, """
import signal
def late(self, xml):
    os.kill(os.getpid(), signal.SIGINT)
    return define(self, xml)
libvirt.virConnect.defineXML = late
""", "adopt", "--all")
    assert done.returncode == 130
    assert "adopted 1, skipped 0, failed 0, interrupted before 1 more" in done.stdout
    assert done.stderr == ""
    assert is_on_volume(tpm_host, "one")
    assert no_pool_is_left(tpm_host)


def test_interrupted_list(tpm_host):
    """There is nothing to be finished."""
    done = patched(tpm_host, """
import signal
libvirt.virConnect.listAllDomains = lambda *_: (os.kill(os.getpid(), signal.SIGINT), [])[1]
""", "list")
    assert (done.returncode, done.stdout, done.stderr) == (-2, "", "")


def test_reader_that_goes_away(tpm_host):
    for name in ("one", "two"):
        tpm_host.create_volume(name)
    with subprocess.Popen(["/usr/bin/python3", TOOL, "check"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        client.stdout.close()
        assert client.wait(timeout=60) == 1
        assert client.stderr.read() == ""


def test_man_page_is_built():
    page = TOP / "build/subprojects/libvirt/docs/manpages/virt-tpm-volume.1"
    text = page.read_text(encoding="utf-8")
    for option in ("--pool", "--volume", "--state-dir", "--dry-run", "--all", "--unused"):
        assert option.replace("-", r"\-") in text
