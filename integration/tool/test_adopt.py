"""virt-tpm-volume adopt: TPMs that libvirt has made become volumes.

Whatever fails or is interrupted, the old state stays, and another run completes it.
"""

import re
import uuid
import xml.etree.ElementTree as etree

import pytest

import messages
import xmls
from expected import Output
from host import GUEST_DIR, IMAGES, IMPLICIT, POOL
from hosts import Session
from tpmtool import (define_with_tpm, fails, inactive_xml, is_on_volume, make_tpm, no_pool_is_left, patched, tool,
                     tpm_of, volumes, works)


def is_unchanged(host, before, name="guest"):
    return host.virsh("dumpxml", name, "--inactive", "--security-info") == before


def starts(host, name, on_volume):
    host.virsh("start", name, "--paused")
    assert (tpm_of(host, name).find("storage") is not None) == on_volume
    host.virsh("destroy", name)


# adopt

SOURCES = {
    "none": "",
    "dir": f"<source type='dir' path='{IMAGES}/state'/>",
    "file": f"<source type='file' path='{IMAGES}/state/one'/>",
}


@pytest.mark.parametrize("version", ["2.0", "1.2"])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_adopt(tpm_host, source, encrypted, version):
    if source == "file":
        # swtpm_setup replaces the file.
        tpm_host.run("install", "-d", "-o", "tss", f"{IMAGES}/state")
    inner = SOURCES[source]
    if encrypted:
        secret = tpm_host.define_secret("open sesame", "tpm-key")
        inner += f"<encryption secret='{secret}'/>"
    model = "tpm-crb" if version == "2.0" else "tpm-tis"
    define_with_tpm(tpm_host, version=version, model=model, inner=inner)
    before = tpm_host.contents(IMPLICIT, IMAGES)
    state, = [path for path in before if path.endswith(("permall", "/one"))]

    printed = works(tpm_host, "adopt", "guest")
    assert f"guest: adopted as volume 'guest' of pool 'tpm'; the old state stays in {state}\n" in printed
    assert printed.endswith("adopted 1, skipped 0, failed 0\n")
    assert is_on_volume(tpm_host)
    assert tpm_host.contents(IMPLICIT, IMAGES) == before
    assert no_pool_is_left(tpm_host)
    volume = etree.fromstring(tpm_host.virsh("vol-dumpxml", "guest", "--pool", "tpm"))
    assert volume.find("tpm").get("version") == version
    found = volume.find("target/encryption/secret")
    assert (found is not None) == encrypted
    assert not encrypted or found.get("uuid") == secret
    starts(tpm_host, "guest", on_volume=True)
    assert tpm_host.contents(IMPLICIT, IMAGES) == before


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
    tpm_host.run("mkdir", IMAGES)
    tpm_host.run("cp", "-a", IMPLICIT, f"{IMAGES}/copy")
    guest = tpm_host.virsh("domuuid", "guest")
    assert messages.NO_STATE_IN_DIRECTORY(f"{IMAGES}/none/{guest}/tpm2") in fails(
        tpm_host, "adopt", "--state-dir", f"{IMAGES}/none", "guest")
    printed = works(tpm_host, "adopt", "--state-dir", f"{IMAGES}/copy", "guest")
    assert f"the old state stays in {IMAGES}/copy/" in printed


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
    done = patched(tpm_host, """
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
    host.define_pool("plain", "dir", IMAGES)
    refused(host, messages.TOOL_POOL_OF_OTHER_TYPE("plain", "dir"), "--pool", "plain")


def test_domain_that_is_not_there(tpm_host):
    define_with_tpm(tpm_host)
    done = tool(tpm_host, "adopt", "nobody", "guest")
    assert done.returncode == 1
    assert "error: nobody: " in done.stderr
    assert "adopted 1, skipped 0, failed 1\nfailed: nobody: " in done.stdout


def test_pool_that_has_the_state(tpm_host):
    """A pool of the user's is used as it is, refreshed, and stays."""
    define_with_tpm(tpm_host, inner=f"<source type='dir' path='{IMAGES}/state'/>")
    tpm_host.define_pool("plain", "dir", f"{IMAGES}/state")
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
