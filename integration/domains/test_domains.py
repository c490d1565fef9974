"""Domains whose TPM is a volume: the reference in XML, guests that run, and two guests on one volume.

Also the lock, which lives as long as swtpm, and what a restarted daemon finds again.
"""

import concurrent.futures
import os
import subprocess
import xml.etree.ElementTree as etree

import pytest

import messages
import xmls
from expected import ANY
from host import IMPLICIT, POOL, TOP


# The reference in XML

def test_reference_survives(tpm_host):
    """Inactive XML has the marker that an older libvirt refuses, and no identity or version."""
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm = tpm_host.domain_tpm("guest", "--inactive")
    assert tpm.find("storage").attrib == {"pool": "tpm", "volume": "one"}
    assert tpm.find("backend").attrib == {"type": "emulator"}
    assert tpm.find("backend/source").attrib == {"type": "volume"}


@pytest.mark.parametrize("inner, message", [
    ("<backend type='emulator'><encryption secret='11111111-2222-3333-4444-555555555555'/></backend>"
     "<storage volume='one'/>", messages.PROPERTY_OF_VOLUME("<encryption>")),
    ("<backend type='emulator' version='2.0'><active_pcr_banks><sha1/></active_pcr_banks></backend>"
     "<storage volume='one'/>", messages.PROPERTY_OF_VOLUME("<active_pcr_banks>")),
    ("<backend type='emulator' version='2.0'><profile source='null'/></backend>"
     "<storage volume='one'/>", messages.PROPERTY_OF_VOLUME("<profile>")),
    ("<backend type='emulator' persistent_state='yes'/><storage volume='one'/>",
     messages.PROPERTY_OF_VOLUME("persistent_state")),
    ("<backend type='emulator'><source type='file' path='/x'/></backend><storage volume='one'/>",
     messages.STORAGE_AND_SOURCE("file")),
    ("<backend type='passthrough'/><storage volume='one'/>", messages.STORAGE_WITHOUT_EMULATOR("passthrough")),
    ("<storage pool='tpm'/>", messages.STORAGE_NAMES_NO_VOLUME()),
    ("<backend type='emulator'><source type='volume'/></backend>", messages.SOURCE_WITHOUT_STORAGE()),
    ("<storage pool='' volume='one'/>", messages.EMPTY_POOL_NAME("one", "tpm")),
    *((f"<storage volume='{name}'/>", message(name))
      for name, message in (("a/b", messages.NAME_CHARACTER), ("../x", messages.NAME_DOT),
                            ("x.tpm.xml", messages.NAME_SIDECAR), (".x", messages.NAME_DOT),
                            ("a,b", messages.NAME_CHARACTER), ("a\\b", messages.NAME_CHARACTER),
                            ("n" * 231, messages.NAME_LONG))),
])
def test_refused_definitions(tpm_host, inner, message):
    text = xmls.domain("guest", "11111111-2222-3333-4444-555555555555",
                       f"<tpm model='tpm-crb'>{inner}</tpm>", "info", "/")
    assert message in tpm_host.virsh_fails("define", "/dev/stdin", input=text)


def test_define_needs_no_pool(host):
    """The pool may be off, or not be there yet."""
    host.define_guest(tpm=xmls.tpm_volume("one", "nowhere"))
    assert "-tpmdev" in host.virsh("domxml-to-native", "qemu-argv", "--domain", "guest")


def test_disk_with_vtpm_encryption_is_refused(tpm_host):
    secret = tpm_host.define_secret("key", "tpm-key")
    disk = (f"<disk type='file'><source file='/x'><encryption format='vtpm'>"
            f"<secret type='passphrase' uuid='{secret}'/></encryption></source>"
            f"<target dev='vda' bus='virtio'/></disk>")
    text = xmls.domain("guest", "11111111-2222-3333-4444-555555555555", disk, "info", "/")
    assert messages.VTPM_FOR_A_DISK() in tpm_host.virsh_fails("define", "/dev/stdin", input=text)


def in_use_by(pid, program="swtpm"):
    """What is said of the volume that is used."""
    return messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(pid, program))


# A guest that runs

def test_live_xml_and_lock(tpm_host):
    """The live XML has version and identity; the lock lives as long as swtpm."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    tpm = tpm_host.domain_tpm()
    assert tpm.find("backend").get("version") == "2.0"
    assert tpm.find("backend/source").attrib == {
        "type": "volume", "uuid": tpm_host.identity("one")}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.owner() == "tss"

    swtpm = guest.pid("swtpm")
    assert in_use_by(swtpm) in tpm_host.virsh_fails("vol-delete", "one", "--pool", "tpm")
    command = tpm_host.run("cat", f"/proc/{swtpm}/cmdline").stdout.split("\0")
    assert f"backend-uri=file://{POOL}/one" in command
    tpm_host.virsh("destroy", "guest")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")


def test_domtpmlist(tpm_host):
    """The version is only known while the guest runs."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    assert tpm_host.virsh("domtpmlist", "guest").split() == ["tpm-crb", "emulator", "2.0", "tpm", "one"]
    assert tpm_host.virsh("domtpmlist", "guest", "--inactive").split() == [
        "tpm-crb", "emulator", "-", "tpm", "one"]
    assert tpm_host.virsh("complete", "--", "domtpmlist", "gu") == "guest"
    assert "domtpmlist domain [--inactive]" in (
        TOP / "build/subprojects/libvirt/docs/manpages/virsh.1").read_text(encoding="utf-8").replace("\\-", "-")


def test_lock_goes_with_killed_swtpm(tpm_host):
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.start()
    swtpm = guest.pid("swtpm")
    tpm_host.daemon("kill", "virtqemud")
    assert in_use_by(swtpm) in tpm_host.virsh_fails("-c", "storage:///system", "vol-delete", "one", "--pool", "tpm")
    os.kill(swtpm, 9)
    tpm_host.wait_for_end(swtpm)
    tpm_host.virsh("-c", "storage:///system", "vol-delete", "one", "--pool", "tpm")
    tpm_host.daemon("start", "virtqemud")


def test_daemon_restart_finds_everything(tpm_host):
    """Without the storage driver, for the guest runs already."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    before = etree.tostring(tpm_host.domain_tpm())
    tpm_host.daemon("stop", "virtstoraged")
    tpm_host.daemon("kill", "virtqemud")
    tpm_host.daemon("start", "virtqemud")
    assert tpm_host.virsh("domstate", "guest") == "running"
    assert etree.tostring(tpm_host.domain_tpm()) == before
    tpm_host.virsh("destroy", "guest")
    assert tpm_host.path(f"{POOL}/one").exists()


def test_volume_outlives_the_domain(tpm_host):
    """Whatever is said of the TPM: only the storage API removes a volume."""
    tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    for flags in ([], ["--tpm"], ["--keep-tpm"], ["--tpm", "--nvram"]):
        tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
        tpm_host.virsh("undefine", "guest", *flags)
        assert tpm_host.contents(POOL) == facts

    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("undefine", "guest")
    tpm_host.virsh("create", "/dev/stdin", input=guest.xml("idle"))
    tpm_host.virsh("destroy", "guest")
    assert tpm_host.contents(POOL).keys() == facts.keys()
    tpm_host.opens_in_swtpm(f"{POOL}/one")
    assert tpm_host.contents(IMPLICIT) == {}


@pytest.mark.guest
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("model", ["tpm-crb", "tpm-tis"])
def test_guest_unseals_after_restart(tpm_host, encrypted, model):
    what = {}
    if encrypted:
        what = {"encryption": "vtpm", "secret": tpm_host.define_secret("open sesame", "tpm-key")}
    tpm_host.create_volume("one", **what)
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one", model=model))
    sealed = guest.boot("info,seal")
    assert sealed["tpm"].startswith("2")
    tpm_host.daemon("restart", "virtstoraged")
    assert guest.boot("unseal")["unsealed"] == sealed["sealed"]
    assert tpm_host.contents(IMPLICIT) == {}


@pytest.mark.guest
def test_guest_sees_what_vol_dumpxml_tells(tpm_host):
    """PCR banks, and the very EK certificate."""
    banks = "<tpm><active_pcr_banks><sha1/><sha384/></active_pcr_banks></tpm>"
    tpm_host.create_volume("one", tpm=banks)
    volume = etree.fromstring(tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm"))
    seen = tpm_host.define_guest(tpm=xmls.tpm_volume("one")).boot("pcrs,ek")
    assert sorted(seen["pcrs"].split()) == ["sha1", "sha384"]
    pem = volume.findtext("tpm/endorsement[@key='rsa2048']")
    assert seen["ek-cert"] == "".join(pem.split("-----")[2].split())


@pytest.mark.guest
def test_guest_with_tpm_1_2(tpm_host):
    tpm_host.create_volume("one", tpm="<tpm version='1.2'/>")
    seen = tpm_host.define_guest(tpm=xmls.tpm_volume("one", model="tpm-tis")).boot("info")
    assert seen["tpm"].startswith("1")


# Two on one volume

def test_another_guest_runs_on_it(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest("first", xmls.tpm_volume("one")).start()
    before = tpm_host.contents(IMPLICIT).keys()
    tpm_host.define_guest("guest", xmls.tpm_volume("one"))
    said = tpm_host.virsh_fails("start", "guest")
    assert in_use_by(ANY) in said
    assert tpm_host.contents(IMPLICIT).keys() == before
    assert tpm_host.virsh("domstate", "first") == "running"


def test_copy_does_not_start_beside_the_original(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    for suffix in ("", ".tpm.xml"):
        tpm_host.run("cp", f"{path}{suffix}", path.with_name(f"two{suffix}"))
    tpm_host.define_guest("first", xmls.tpm_volume("one")).start()
    tpm_host.define_guest("guest", xmls.tpm_volume("two"))
    said = tpm_host.virsh_fails("start", "guest")
    assert messages.COPY_RUNS_IN(tpm_host.identity("one"), "two", "tpm", messages.PROCESS_NAMED(ANY, "swtpm")) in said


def test_only_root_writes_where_identities_are_locked(tpm_host):
    """Whoever replaces the file of a lock gets a second TPM of the same identity to run."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    lock = tpm_host.path(f"/run/libvirt/tpm-identity/{tpm_host.identity('one')}.lock")
    assert tpm_host.is_locked(lock)
    for path in (lock, lock.parent, lock.parent.parent):
        assert (path.owner(), path.stat().st_mode & 0o022) == ("root", 0)
    tpm_host.virsh("destroy", "guest")
    assert not lock.exists()


@pytest.mark.newer_swtpm
def test_lock_that_swtpm_takes_by_itself(tpm_host):
    """On a shared file system; from the moment when the guest is about to start there is one."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    guest.define("idle")
    with tpm_host.setting(f'shared_filesystems = ["{POOL}"]'), open(path, "r+b") as file:
        starting = subprocess.Popen(["virsh", "-q", "start", "guest"])
        found = [False]
        while starting.poll() is None:
            now = tpm_host.is_locked_by_another(file)
            if now != found[-1]:
                found.append(now)
        assert starting.returncode == 0
        assert found == [False, True]
        swtpm = guest.pid("swtpm")
        assert "lock" in tpm_host.run("cat", f"/proc/{swtpm}/cmdline").stdout
        for command in (["vol-wipe"], ["vol-delete"]):
            said = tpm_host.virsh_fails(*command, "one", "--pool", "tpm")
            assert in_use_by(swtpm) in said
        tpm_host.virsh("destroy", "guest")
        assert not tpm_host.is_locked_by_another(file)


@pytest.mark.guest
def test_lock_of_a_swtpm_that_takes_none(tpm_host):
    """On a shared file system what it writes is written by an owner of the lock: for as long as
    it runs its process has a part of it."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.install_guest()
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with tpm_host.setting(f'shared_filesystems = ["{POOL}"]'):
        guest.start("watch")
        guest.wait_report("sealed")
        swtpm = guest.pid("swtpm")
        assert tpm_host.holders(path) == {(swtpm, "swtpm", "OFDLCK"), (swtpm, "swtpm", "POSIX")}
        assert in_use_by(swtpm) in tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")


def test_two_at_the_same_moment(tpm_host):
    """20 times, exactly one of them runs."""
    tpm_host.create_volume("one")
    for name in ("first", "second"):
        tpm_host.define_guest(name, xmls.tpm_volume("one")).define("idle")
    with concurrent.futures.ThreadPoolExecutor() as both:
        for _ in range(20):
            done = list(both.map(lambda name: tpm_host.run("virsh", "-q", "start", name), ["first", "second"]))
            assert sorted(one.returncode for one in done) == [0, 1], [one.stderr for one in done]
            loser = next(one for one in done if one.returncode)
            assert in_use_by(ANY, ANY) in loser.stderr
            running = tpm_host.virsh("list", "--name").split()
            assert len(running) == 1
            tpm_host.virsh("destroy", running[0])


def test_file_source_has_a_lock(host):
    """Two domains on one file of the user's choice."""
    state = "/var/lib/libvirt/swtpm/state"
    host.path(IMPLICIT).mkdir(exist_ok=True)
    host.run("chown", "tss:tss", IMPLICIT)
    guest = host.define_guest(tpm=xmls.tpm_path(state))
    guest.start()
    swtpm = guest.pid("swtpm")
    host.define_guest("other", xmls.tpm_path(state))
    said = host.virsh_fails("start", "other")
    if host.swtpm_can("tpmstate-opt-lock"):
        assert "Could not lock" in said
    else:
        assert messages.STATE_IN_USE(state, messages.PROCESS_NAMED(swtpm, "swtpm")) in said
    os.kill(swtpm, 0)
    host.virsh("destroy", "guest")
    host.virsh("start", "other")


# The state that libvirt makes by itself is certified under the domain's name, which a comma or a
# backslash breaks in swtpm_setup.
ODD_NAMES = [(name, tpm) for tpm in ("volume", "implicit")
             for name in ("a,b", "a b", "a'b", "a%sb", "a\\b", "-a", "é", "n" * 200)
             if tpm == "volume" or not set(name) & set(",\\")]


@pytest.mark.parametrize("name, tpm", ODD_NAMES)
def test_odd_names_of_domains(tpm_host, name, tpm):
    """They become a part of what swtpm and QEMU are told, and of the names of files."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest("guest", xmls.tpm_volume("one") if tpm == "volume" else xmls.tpm_emulator())
    text = guest.xml().replace("<name>guest</name>", f"<name>{name}</name>")
    tpm_host.virsh("undefine", "guest")
    tpm_host.virsh("define", "/dev/stdin", input=text)
    tpm_host.virsh("start", "--", name)
    assert tpm_host.virsh("domstate", "--", name) == "running"
    tpm_host.daemon("restart", "virtqemud")
    # This waits until the daemon has found the guest again; destroy would not.
    assert "running" in tpm_host.virsh("qemu-monitor-command", "--hmp", "--", name, "info status")
    tpm_host.virsh("destroy", "--", name)
    tpm_host.wait_for_none("swtpm")
    tpm_host.virsh("undefine", "--tpm", "--", name)


def test_path_with_a_comma(host):
    """swtpm cannot be told of it."""
    host.define_guest(tpm=xmls.tpm_path("/var/lib/libvirt/swtpm/a,b"))
    assert messages.PATH_WITH_COMMA("/var/lib/libvirt/swtpm/a,b") in host.virsh_fails("start", "guest")
