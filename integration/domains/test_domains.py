"""Domains whose TPM is a volume: what makes a guest start, and what must not."""

import concurrent.futures
import contextlib
import errno
import fcntl
import itertools
import os
import random
import re
import struct
import subprocess
import xml.etree.ElementTree as etree

import pytest

import messages
import xmls
from expected import ANY, error
from host import IMPLICIT, POOL, TOP, wait_for


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


# A guest that must not start

def does_not_start(host, message):
    """The guest does not start, for this reason, and nothing on disk changes."""
    before = host.contents(POOL, IMPLICIT)
    said = host.virsh_fails("start", "guest")
    assert message in said
    assert "CMD_INIT" not in said, said
    assert host.contents(POOL, IMPLICIT) == before
    assert host.virsh("domstate", "guest") == "shut off"
    assert host.run("pgrep", "-x", "swtpm").stdout == ""


def qemu_img(path, *options):
    path.unlink()
    subprocess.run(["qemu-img", "create", "-q", *options, path, "1M"], check=True)


def make_luks(path):
    """The head of a LUKS container. Not by qemu-img, which measures the CPU for it, and on some
    machines cannot."""
    path.write_bytes(b"LUKS\xba\xbe\x00\x01" + bytes(1 << 20))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("harm, message", [
    (lambda path: path.unlink(), messages.NOT_FOUND("one", "tpm")),
    (lambda path: path.write_bytes(b""), messages.BLANK("one", "tpm")),
    (lambda path: path.write_bytes(bytes(1 << 20)), messages.BLANK("one", "tpm")),
    (lambda path: qemu_img(path, "-f", "qcow2"), messages.HAS_UNSUPPORTED_FORMAT("one", "tpm", "qcow2")),
    (make_luks, messages.HAS_UNSUPPORTED_ENCRYPTION("one", "tpm", "luks")),
    (lambda path: path.write_bytes(random.Random(1).randbytes(1 << 16)), messages.HOLDS_UNKNOWN("one", "tpm")),
    (cut_short, messages.DAMAGED("one", "tpm")),
], ids=["missing", "empty", "zeros", "qcow2", "luks", "random", "cut-short"])
@pytest.mark.parametrize("refreshed", [True, False])
def test_bad_volume(tpm_host, harm, message, refreshed):
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    harm(path)
    if refreshed:
        tpm_host.virsh("pool-refresh", "tpm")
    does_not_start(tpm_host, message)


def test_volume_never_made(tpm_host):
    tpm_host.create_volume("other")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    does_not_start(tpm_host, messages.NOT_FOUND("one", "tpm"))


def test_volume_put_there_by_hand_is_found(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    path.rename(path.with_name("two"))
    tpm_host.define_guest(tpm=xmls.tpm_volume("two")).start()
    assert tpm_host.virsh("domstate", "guest") == "running"


def test_volume_put_there_while_others_are_made(tpm_host):
    """One of which takes as long as this does: nothing that waits for it, or that it refuses, is needed."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    go = tpm_host.path("/var/lib/libvirt/slow-setup.go")
    waits = f"while [ ! -e {go} ]; do sleep 0.1; done"
    try:
        with tpm_host.in_place("swtpm_setup", f'case "$*" in *--tpm-state*) {waits};; esac\nexec "$real" "$@"'):
            making = subprocess.Popen(["virsh", "-q", "vol-create-as", "tpm", "slow", "1M"])
            wait_for("it is made", lambda: "slow" in tpm_host.virsh("vol-list", "tpm"), every=0.05)
            path.rename(path.with_name("two"))
            tpm_host.define_guest(tpm=xmls.tpm_volume("two")).start()
            assert tpm_host.virsh("domstate", "guest") == "running"
            assert making.poll() is None
            go.touch()
            assert making.wait(timeout=300) == 0
    finally:
        go.unlink(missing_ok=True)


@pytest.mark.parametrize("refreshed", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_file_system_not_mounted(tpm_host, refreshed, restarted):
    """Nobody is told to create a volume that only is out of sight."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    # A file system with other volumes is the pool's own one once it was refreshed.
    for files in [()] if refreshed or restarted else [(), ("two",)]:
        tpm_host.run("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", POOL)
        try:
            for name in files:
                tpm_host.path(f"{POOL}/{name}").write_bytes(b"")
            if refreshed:
                tpm_host.virsh("pool-refresh", "tpm")
            if restarted and not files:
                tpm_host.daemon("restart", "virtstoraged")
            # A daemon that was started since then has not seen the other directory.
            does_not_start(tpm_host, (messages.NOT_FOUND_IN_EMPTY_DIRECTORY if restarted else
                                      messages.NOT_FOUND_IN_OTHER_DIRECTORY)("one", "tpm", POOL))
            # And the pool is there for all others.
            assert "tpm" in tpm_host.virsh("pool-list", "--name").split()
            assert "inactive" not in tpm_host.virsh("pool-list", "--all")
        finally:
            tpm_host.run("umount", POOL)
        if refreshed:
            tpm_host.virsh("pool-refresh", "tpm")
    tpm_host.virsh("start", "guest", "--paused")


def test_directory_gone(tpm_host):
    """The pool stays active, as its directory may come back."""
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.define_guest("other", tpm=xmls.tpm_volume("two"))
    folder = tpm_host.path(POOL)
    away = folder.rename(folder.with_name("away"))
    for name, volume in (("guest", "one"), ("other", "two")):
        said = tpm_host.virsh_fails("start", name)
        assert messages.NOT_FOUND_IN_OTHER_DIRECTORY(volume, "tpm", POOL) in said
    away.rename(folder)
    tpm_host.virsh("start", "guest", "--paused")


def test_directory_that_swtpm_cannot_search(host):
    closed = host.path("/var/lib/libvirt/images")
    closed.mkdir(mode=0o700)
    closed.chmod(0o700)
    host.define_pool(target=closed / "tpm")
    host.create_volume("one")
    host.define_guest(tpm=xmls.tpm_volume("one"))
    said = host.virsh_fails("start", "guest")
    assert messages.DIRECTORY_NOT_SEARCHABLE(ANY, closed, "one", "tpm", errno=errno.EACCES) in said
    closed.chmod(0o711)
    host.virsh("start", "guest", "--paused")


def test_pool_stopped(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("pool-destroy", "tpm")
    does_not_start(tpm_host, messages.POOL_INACTIVE("tpm", "one"))


def test_pool_not_there(host):
    host.define_guest(tpm=xmls.tpm_volume("one"))
    does_not_start(host, messages.POOL_NOT_FOUND("tpm", "one"))


def test_pool_of_another_type(host):
    host.define_pool("plain", "dir", "/var/lib/libvirt/images")
    host.create_volume("one", "plain", capacity=4096)
    host.define_guest(tpm=xmls.tpm_volume("one", "plain"))
    does_not_start(host, messages.POOL_OF_OTHER_TYPE("plain", "one", "dir"))


def test_secret_undefined(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("secret-undefine", secret)
    does_not_start(tpm_host, messages.SECRET_NOT_DEFINED(f"uuid='{secret}'", "one", "tpm"))


def test_secret_of_another_usage_type(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("secret-undefine", secret)
    tpm_host.virsh("secret-define", "/dev/stdin", input=xmls.secret(secret, "disk", "volume"))
    does_not_start(tpm_host, messages.SECRET_OF_OTHER_USAGE(f"uuid='{secret}'", "one", "tpm", "volume"))


def test_wrong_passphrase(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input="wrong")
    # A file gets its owner when swtpm is about to use it.
    tpm_host.virsh_fails("start", "guest")
    does_not_start(tpm_host, messages.WRONG_PASSPHRASE("one", "tpm"))
    tpm_host.virsh("secret-set-value", secret, "--file", "/dev/stdin", "--plain", input="open sesame")
    tpm_host.virsh("start", "guest")


def test_wrong_passphrase_on_a_full_file_system(host):
    """One thing is told from the other."""
    host.define_pool(start=False)
    host.virsh("pool-build", "tpm")
    host.run("mount", "-t", "tmpfs", "-o", "size=512k,mode=711", "tmpfs", POOL)
    try:
        host.virsh("pool-start", "tpm")
        secret = host.define_secret("open sesame", "tpm-key")
        host.create_volume("one", encryption="vtpm", secret=secret)
        host.define_guest(tpm=xmls.tpm_volume("one"))
        host.set_secret(secret, "wrong")
        with contextlib.suppress(OSError), open(f"{POOL}/.fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        said = host.virsh_fails("start", "guest")
        assert messages.WRONG_PASSPHRASE("one", "tpm") in said
        host.virsh("pool-destroy", "tpm")
    finally:
        host.run("umount", POOL)


def test_swtpm_that_cannot_write(host):
    """A full file system ends it by a signal, and it has no time to say why."""
    capabilities = host.run("swtpm", "socket", "--tpm2", "--print-capabilities").stdout.strip()
    host.define_pool(start=False)
    host.virsh("pool-build", "tpm")
    host.run("mount", "-t", "tmpfs", "-o", "size=512k,mode=711", "tmpfs", POOL)
    try:
        host.virsh("pool-start", "tpm")
        host.create_volume("one")
        host.define_guest(tpm=xmls.tpm_volume("one"))
        with contextlib.suppress(OSError), open(f"{POOL}/.fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        script = f"case \"$*\" in *--print-capabilities*) echo '{capabilities}' ;; *) kill -BUS $$ ;; esac"
        with host.in_place("swtpm", script):
            said = host.virsh_fails("start", "guest")
        assert messages.SWTPM_CANNOT_WRITE("one", "tpm", errno=errno.ENOSPC) in said
        host.virsh("pool-destroy", "tpm")
    finally:
        host.run("umount", POOL)


def test_version_that_is_not_known(tpm_host):
    """Nothing but its description tells the version of an encrypted TPM."""
    secret = tpm_host.define_secret("open sesame", f"{POOL}/one")
    path = tpm_host.path(tpm_host.create_volume("one", encryption="vtpm", secret=secret))
    path.with_name("one.tpm.xml").unlink()
    tpm_host.virsh("pool-refresh", "tpm")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    does_not_start(tpm_host, messages.VERSION_NOT_KNOWN("one", "tpm"))
    guest.tpm = xmls.tpm_volume("one", version="2.0")
    guest.start()


def test_encrypted_without_secret(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    path = tpm_host.path(tpm_host.create_volume("one", encryption="vtpm", secret=secret))
    path.with_name("one.tpm.xml").unlink()
    tpm_host.define_guest(tpm=xmls.tpm_volume("one", version="2.0"))
    does_not_start(tpm_host, messages.NO_SECRET_KNOWN("one", "tpm", f"{POOL}/one"))


def test_clear_state_in_place_of_an_encrypted_one(tpm_host):
    """Its sidecar says that it has a secret: somebody has replaced it."""
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.create_volume("two")
    tpm_host.path(f"{POOL}/one").write_bytes(tpm_host.path(f"{POOL}/two").read_bytes())
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    does_not_start(tpm_host, messages.SECRET_FOR_CLEAR("one", "tpm"))


@pytest.mark.parametrize("asked, has", [("1.2", "2.0"), ("2.0", "1.2")])
def test_version_mismatch(tpm_host, asked, has):
    tpm_host.create_volume("one", tpm=f"<tpm version='{has}'/>")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one", version=asked, model="tpm-tis"))
    does_not_start(tpm_host, messages.HAS_OTHER_VERSION("one", "tpm", has, asked))


def test_model_that_the_version_has_not(tpm_host):
    """Known only when the volume is: a TPM 1.2 has no CRB."""
    tpm_host.create_volume("one", tpm="<tpm version='1.2'/>")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one", model="tpm-crb"))
    does_not_start(tpm_host, error("VIR_ERR_CONFIG_UNSUPPORTED", "tpm-crb"))


def test_swtpm_too_old_for_files(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with tpm_host.older_swtpm("cmdarg-pwd-fd"):
        does_not_start(tpm_host, messages.SWTPM_WITHOUT_FILES(ANY, "one", "tpm"))


def test_swtpm_too_old_for_encryption(tpm_host):
    secret = tpm_host.define_secret("open sesame", "tpm-key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    with tpm_host.older_swtpm("tpmstate-dir-backend-opt-mode", "nvram-backend-dir", "nvram-backend-file"):
        does_not_start(tpm_host, messages.SWTPM_WITHOUT_PASSPHRASES(ANY, "one", "tpm"))


def test_symbolic_link_is_not_followed(tpm_host):
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    path.rename("/var/lib/libvirt/elsewhere")
    path.symlink_to("/var/lib/libvirt/elsewhere")
    does_not_start(tpm_host, messages.PATH_NOT_REGULAR(f"{POOL}/one"))
    os.unlink("/var/lib/libvirt/elsewhere")


def test_read_only_file_system(tpm_host):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    tpm_host.run("mount", "--bind", POOL, POOL)
    tpm_host.run("mount", "-o", "remount,bind,ro", POOL)
    try:
        does_not_start(tpm_host, messages.READ_ONLY(f"{POOL}/one", "one", "tpm", errno=errno.EROFS))
    finally:
        tpm_host.run("umount", POOL)


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


def is_locked_by_another(file):
    """Whether somebody else holds a lock on a file. It is only asked for."""
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    return struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK


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
            now = is_locked_by_another(file)
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
        assert not is_locked_by_another(file)


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


# What is named by a path

@pytest.fixture
def images(tpm_host):
    """Where disks are that are no volumes."""
    folder = tpm_host.path("/var/lib/libvirt/images")
    folder.mkdir(exist_ok=True)
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", folder / "disk", "1M")
    return folder


def define_with_nvram(host, guest, path):
    """Define a guest again, with an NVRAM."""
    line = f"<loader readonly='yes' type='pflash'>/usr/share/code.fd</loader><nvram>{path}</nvram>"
    host.virsh("define", "/dev/stdin", input=guest.xml().replace("<cmdline>", f"{line}<cmdline>"))


def tpm_path(path, kind="file"):
    """A TPM whose state is where the user wants it."""
    return xmls.tpm_emulator(inner=f"<source type='{kind}' path='{path}'/>")


def names_of(host, path, folder):
    """Other names of a volume: by a symbolic link, and bind mounts of the file and of the
    pool's directory."""
    link = folder / "link"
    link.symlink_to(path)
    yield link
    hard = path.parent.parent / "hard"
    hard.unlink(missing_ok=True)
    os.link(path, hard)
    yield hard
    hard.unlink()
    for what, where in ((path, folder / "file"), (path.parent, folder / "directory")):
        where.mkdir() if what.is_dir() else where.touch()
        assert host.run("mount", "-n", "--bind", what, where).returncode == 0
        try:
            yield where / path.name if what.is_dir() else where
        finally:
            host.run("umount", "-n", where)


def test_path_of_a_volume_is_refused(tpm_host, tmp_path):
    """As another domain's TPM or disk, whatever name leads there; and it stays."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    facts = tpm_host.contents(POOL)
    for name in itertools.chain([path], names_of(tpm_host, path, tmp_path)):
        for tpm in (tpm_path(name), tpm_path(name, "dir")):
            tpm_host.define_guest("other", tpm)
            said = tpm_host.virsh_fails("start", "other")
            assert messages.PATH_OF_VOLUME(ANY, "one", "tpm", "other") in said
            tpm_host.virsh("undefine", "other", "--tpm")
        tpm_host.define_guest("other", xmls.disk(name, "raw"))
        said = tpm_host.virsh_fails("start", "other")
        assert messages.PATH_ONLY_FOR_TPM(name, "one", "tpm") in said
        tpm_host.virsh("undefine", "other", "--tpm")
    after = tpm_host.contents(POOL)
    assert after.keys() == facts.keys()
    tpm_host.opens_in_swtpm(path)
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()


@pytest.mark.parametrize("place, volume", [("", None), ("/new", "new"), ("/one/sub", "one"), ("/../tpm/new", "new")])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_path_in_a_pool_is_refused(tpm_host, kind, place, volume):
    """Also of what is not there yet, and of the pool's directory itself."""
    tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    guest = tpm_host.define_guest(tpm=tpm_path(f"{POOL}{place}", kind))
    message = messages.PATH_OF_VOLUME(f"{POOL}{place}", volume, "tpm", "guest") if volume else \
        messages.PATH_IN_TPM_POOL(POOL, "guest")
    assert message in tpm_host.virsh_fails("start", "guest")
    tpm_host.virsh("undefine", "guest", "--tpm")
    assert tpm_host.contents(POOL) == facts
    guest.tpm = tpm_path(f"{POOL}{place}", kind)
    assert message in tpm_host.virsh_fails("create", "/dev/stdin", input=guest.xml())
    assert tpm_host.contents(POOL) == facts


def test_directory_above_a_pool_stays(tpm_host):
    tpm_host.define_pool("deep", target="/var/lib/libvirt/above/pool")
    tpm_host.create_volume("one", pool="deep")
    facts = tpm_host.contents("/var/lib/libvirt/above")
    tpm_host.define_guest(tpm=tpm_path("/var/lib/libvirt/above", "dir"))
    tpm_host.virsh("undefine", "guest", "--tpm")
    assert tpm_host.contents("/var/lib/libvirt/above") == facts


@pytest.mark.parametrize("storage", ["stopped pool", "no driver"])
def test_path_of_a_volume_without_its_pool(tpm_host, storage):
    """The pool is off, or the storage driver is: the file is a volume all the same."""
    tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    if storage == "no driver":
        tpm_host.daemon("stop", "virtstoraged")
    else:
        tpm_host.virsh("pool-destroy", "tpm")
    path = f"{POOL}/one"
    for devices, known, guessed in (
            (tpm_path(path), messages.PATH_OF_VOLUME(path, "one", "tpm", "other"),
             messages.PATH_IN_TPM_POOL(path, "other")),
            (xmls.disk(path, "raw"), messages.PATH_ONLY_FOR_TPM(path, "one", "tpm"),
             messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(path))):
        tpm_host.define_guest("other", devices)
        assert (guessed if storage == "no driver" else known) in tpm_host.virsh_fails("start", "other")
        tpm_host.virsh("undefine", "other", "--tpm")
    if storage == "no driver":
        tpm_host.daemon("start", "virtstoraged")
    assert tpm_host.contents(POOL) == facts


# How the target of a symbolic link may be written: {0} is the path of what it means.
TARGETS = ["{0}", "{0}/", "{0}//", "{0}/.", "{0}/./", "/{0}", "{0}/../real", "{0}//sub/..", "real/", "./real/.",
           "../images//real/"]


@pytest.fixture
def linked(tpm_host, images):
    """A function that makes a pool in or below the directory images/real, named by a symbolic link with
    the given target, with a guest that runs on its volume "one"."""
    def make(target, below="", link=images / "link"):
        real = images / "real"
        (real / "sub").mkdir(parents=True)
        real.chmod(0o711)
        link.symlink_to(target.format(real))
        tpm_host.define_pool("linked", target=f"{link}{below}")
        tpm_host.create_volume("one", "linked")
        tpm_host.define_guest("one", xmls.tpm_volume("one", "linked")).start_paused()
        return real
    return make


@pytest.mark.parametrize("below", ["", "/tpm"])
@pytest.mark.parametrize("target", TARGETS)
def test_path_in_a_pool_behind_a_link(tpm_host, images, linked, target, below):
    """However the target of the link is written, and wherever it is in the path."""
    real = linked(target, below)
    facts = tpm_host.contents(f"{real}{below}")
    for path in (images / "link", real):
        tpm_host.define_guest("other", tpm_path(f"{path}{below}/one"))
        said = tpm_host.virsh_fails("start", "other")
        assert messages.PATH_OF_VOLUME(f"{path}{below}/one", "one", "linked", "other") in said
        tpm_host.virsh("undefine", "other", "--tpm")
        assert tpm_host.contents(f"{real}{below}") == facts


@pytest.mark.parametrize("path, volume", [
    ("link/./one", "one"), ("link/../real/one", "one"), ("real/sub/../one", "one"), ("real/sub/.././/one", "one"),
    ("slash/one", "one"), ("missing/../real/new", "new"), ("dangling", "new"), ("link/sub/../new", "new")])
def test_path_in_a_pool_however_written(tpm_host, images, linked, path, volume):
    """Also of what does not exist yet."""
    real = linked("{0}")
    (images / "slash").symlink_to(f"{real}//")
    (images / "dangling").symlink_to(f"{real}/./new")
    facts = tpm_host.contents(real)
    tpm_host.define_guest("other", tpm_path(images / path))
    assert messages.PATH_OF_VOLUME(ANY, volume, "linked", "other") in tpm_host.virsh_fails("start", "other")
    tpm_host.virsh("undefine", "other", "--tpm")
    assert tpm_host.contents(real) == facts


@pytest.fixture
def remote(tpm_host, images):
    """A directory of a file system that counts as one that might not answer."""
    folder = images / "remote"
    folder.mkdir()
    assert tpm_host.run("mount", "-n", "-t", "bpf", "none", folder).returncode == 0
    yield folder
    tpm_host.run("virsh", "destroy", "one")
    tpm_host.run("virsh", "pool-destroy", "linked")
    tpm_host.run("umount", "-n", folder)


def left_alone(host, path, sign, since):
    """Whether the daemon has logged that it does not remove a file, and why, behind so many characters."""
    reason = {"description": "it is described as a TPM volume", "lock": "it is locked like TPM state in use"}[sign]
    return f"'{path}' is not removed: {reason}" in host.log()[since:]


@pytest.mark.parametrize("sign", ["description", "lock"])
def test_path_in_a_pool_behind_a_link_that_is_not_read(tpm_host, images, linked, remote, sign):
    """The link is where nobody might answer. What is described as a volume, or locked, is refused and left
    alone; a guest with other state is not concerned."""
    real = linked("{0}", link=remote / "link")
    path = real / "one"
    if sign == "lock":
        path.with_name("one.tpm.xml").unlink()
    facts = tpm_host.contents(real)
    since = len(tpm_host.log())
    for devices, message in (
            (tpm_path(path), messages.PATH_IN_TPM_POOL(path, "other") if sign == "description" else None),
            (xmls.disk(path, "raw"), messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(path))):
        tpm_host.define_guest("other", devices)
        said = tpm_host.virsh_fails("start", "other")
        assert message is None or message in said
        tpm_host.virsh("undefine", "other", "--tpm")
        assert tpm_host.contents(real) == facts
    assert left_alone(tpm_host, path, sign, since)

    own = images / "own"
    own.mkdir()
    own.chmod(0o777)
    tpm_host.define_guest("other", tpm_path(own / "state")).start_paused()
    tpm_host.virsh("destroy", "other")
    assert (own / "state").exists()
    tpm_host.virsh("undefine", "other", "--tpm")
    assert not (own / "state").exists()


@pytest.mark.parametrize("sign", ["description", "lock"])
@pytest.mark.parametrize("what", ["state", "directory", "nvram"])
def test_volume_of_an_undefined_pool_stays(tpm_host, what, sign):
    """No pool tells that it is one. A guest may run on it."""
    tpm_host.define_pool("deep", target="/var/lib/libvirt/images/above/pool")
    path = tpm_host.path(tpm_host.create_volume("one", pool="deep"))
    if sign == "lock":
        tpm_host.define_guest("one", xmls.tpm_volume("one", "deep")).start_paused()
        path.with_name("one.tpm.xml").unlink()
    tpm_host.virsh("pool-destroy", "deep")
    tpm_host.virsh("pool-undefine", "deep")
    facts = tpm_host.contents(path.parent)
    name = path.parent.parent if what == "directory" else path
    guest = tpm_host.define_guest(tpm="" if what == "nvram" else tpm_path(name, "dir" if what == "directory" else "file"))
    if what == "nvram":
        define_with_nvram(tpm_host, guest, path)
    since = len(tpm_host.log())
    tpm_host.virsh("undefine", "guest", "--tpm", "--nvram")
    assert tpm_host.contents(path.parent) == facts
    assert left_alone(tpm_host, name, sign, since)


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("command", [("managedsave-remove", "guest"), ("start", "guest", "--paused", "--force-boot"),
                                     ("start", "guest", "--paused"), ("undefine", "guest", "--managed-save")])
def test_volume_in_place_of_a_saved_guest_stays(tpm_host, command, defined):
    """In a pool where libvirt keeps what it saves. As nothing else can be in its place, that fails."""
    folder = tpm_host.path("/var/lib/libvirt/qemu/save")
    mode = folder.stat().st_mode
    try:
        tpm_host.define_pool("save", target=folder)
        tpm_host.create_volume("guest.save", pool="save")
        tpm_host.define_guest(tpm="")
        tpm_host.daemon("restart", "virtqemud")
        if not defined:
            tpm_host.virsh("pool-destroy", "save")
            tpm_host.virsh("pool-undefine", "save")
        facts = tpm_host.contents(folder)
        assert "remove" in tpm_host.virsh_fails(*command)
        assert tpm_host.contents(folder) == facts
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.chmod(mode)


def test_saved_guest_that_somebody_reads_is_removed(tpm_host):
    """A backup program may lock it; it is no TPM state."""
    tpm_host.define_guest(tpm="").start_paused()
    tpm_host.virsh("managedsave", "guest")
    image = tpm_host.path("/var/lib/libvirt/qemu/save/guest.save")
    with open(image, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        tpm_host.virsh("managedsave-remove", "guest")
    assert not image.exists()


@pytest.mark.parametrize("kind", ["file", "dir"])
def test_state_that_is_no_volume_is_removed(tpm_host, images, kind):
    """And so is an NVRAM."""
    images.chmod(0o777)
    guest = tpm_host.define_guest(tpm=tpm_path(images / "state", kind))
    guest.start_paused()
    tpm_host.virsh("destroy", "guest")
    (images / "nvram").write_bytes(bytes(1 << 16))
    define_with_nvram(tpm_host, guest, images / "nvram")
    tpm_host.virsh("undefine", "guest", "--tpm", "--nvram")
    assert not (images / "state").exists() and not (images / "nvram").exists()


TARGET = "<target type='virtio' name='org.example.one'/>"

# Each would be written to, removed, or given to QEMU's user.
NAMED_BY_A_PATH = {
    "serial file": "<serial type='file'><source path='{path}'/></serial>",
    "serial file, appended": "<serial type='file'><source path='{path}' append='on'/></serial>",
    "serial log": "<serial type='null'><log file='{path}'/></serial>",
    "serial socket": "<serial type='unix'><source mode='bind' path='{path}'/></serial>",
    "serial device": "<serial type='dev'><source path='{path}'/></serial>",
    "serial pipe": "<serial type='pipe'><source path='{path}'/></serial>",
    "parallel": "<parallel type='file'><source path='{path}'/></parallel>",
    "console": "<console type='file'><source path='{path}'/><target type='virtio'/></console>",
    "channel": f"<channel type='unix'><source mode='bind' path='{{path}}'/>{TARGET}</channel>",
    "description": "<serial type='file'><source path='{path}.tpm.xml'/></serial>",
    "graphics": "<graphics type='vnc'><listen type='socket' socket='{path}'/></graphics>",
    "render node": "<graphics type='egl-headless'><gl rendernode='{path}'/></graphics>",
    "audio": "<audio id='1' type='file' path='{path}'/>",
    "key of ssh": "<disk type='network'><driver name='qemu' type='raw'/><source protocol='ssh' name='/disk'>"
                  "<host name='localhost'/><identity username='user' keyfile='{path}'/>"
                  "<knownHosts path='/var/lib/libvirt/hosts'/></source><target dev='sdc' bus='sata'/></disk>",
    "store for crash dumps": "<pstore backend='acpi-erst'><path>{path}</path><size unit='KiB'>8</size></pstore>",
    "passed through TPM": "<tpm><backend type='passthrough'><device path='{path}'/></backend></tpm>",
    "log of passt": "<interface type='user'><backend type='passt' logFile='{path}'/></interface>",
    "shared directory": "<filesystem accessmode='mapped'><source dir='{pool}'/><target dir='x'/></filesystem>",
}


@pytest.mark.parametrize("what", NAMED_BY_A_PATH)
def test_volume_is_no_other_device(tpm_host, what):
    """Such a domain does not start; the volume is not touched, nor when the start has failed."""
    path = tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    device = NAMED_BY_A_PATH[what].format(path=path, pool=POOL)
    tpm_host.define_guest(tpm=device)
    said = tpm_host.virsh_fails("start", "guest")
    assert (messages.PATH_IN_TPM_POOL_ONLY_FOR_TPM(POOL) if what == "shared directory" else
            messages.PATH_ONLY_FOR_TPM(f"{path}.tpm.xml" if what == "description" else path, "one", "tpm")) in said
    assert tpm_host.contents(POOL) == facts


def test_blank_volume_by_a_hard_link_is_refused(tpm_host, images):
    """An empty file has nothing that tells that it is a volume; a file that is in no pool is a disk."""
    path = tpm_host.path(tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>"))
    facts = tpm_host.contents(POOL)
    for name in ("link", "empty", "other"):
        (images / name).unlink(missing_ok=True)
    os.link(path, images / "link")
    tpm_host.define_guest(tpm=xmls.disk(images / "link", "raw"))
    said = tpm_host.virsh_fails("start", "guest", "--paused")
    assert messages.PATH_ONLY_FOR_TPM(images / "link", "blank", "tpm") in said
    assert tpm_host.contents(POOL) == facts
    (images / "empty").touch()
    os.link(images / "empty", images / "other")
    tpm_host.define_guest("disk", xmls.disk(images / "empty", "raw")).start_paused()


@pytest.mark.parametrize("element", ["kernel", "initrd", "dtb", "loader", "nvram", "template"])
def test_volume_is_no_firmware(tpm_host, element):
    """It would be given to QEMU's user, or be written to; and be removed with the domain."""
    path = tpm_host.create_volume("one")
    facts = tpm_host.contents(POOL)
    guest = tpm_host.define_guest(tpm="")
    line = f"<{element}>{path}</{element}>"
    if element in ("loader", "nvram", "template"):
        code = path if element == "loader" else "/usr/share/code.fd"
        template = path if element == "template" else "/usr/share/vars.fd"
        line = f"<loader readonly='yes' type='pflash'>{code}</loader>"
        line += f"<nvram template='{template}'>{path if element == 'nvram' else '/var/lib/libvirt/vars.fd'}</nvram>"
    text = re.sub(f"<{element}>.*</{element}>", "", guest.xml()).replace("<cmdline>", f"{line}<cmdline>")
    tpm_host.virsh("define", "/dev/stdin", input=text)
    assert messages.PATH_ONLY_FOR_TPM(path, "one", "tpm") in tpm_host.virsh_fails("start", "guest")
    tpm_host.virsh("undefine", "guest", "--nvram")
    assert tpm_host.contents(POOL) == facts


def backup(path):
    """What backup-begin is told to write a disk to."""
    return f"<domainbackup><disks><disk name='sda' type='file'><target file='{path}'/></disk></disks></domainbackup>"


def test_volume_is_not_written_to_by_other_ways(tpm_host, images):
    """While a guest runs: neither attached to it, nor the target of what is saved or copied, whether it
    holds a TPM or is blank."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    facts = tpm_host.contents(POOL)
    overlay = images / "overlay"
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", f"{POOL}/one", overlay)
    guest = tpm_host.define_guest(tpm=xmls.disk(overlay))
    assert messages.PATH_ONLY_FOR_TPM(f"{POOL}/one", "one", "tpm") in tpm_host.virsh_fails("start", "guest")

    ports = [f"<controller type='pci' index='{index}' model='pcie-root-port'/>" for index in (1, 2, 3)]
    guest.tpm = (xmls.disk(images / "disk") + "<controller type='pci' index='0' model='pcie-root'/>" + "".join(ports) +
                 "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>")
    guest.start()
    for name in ("one", "blank"):
        path = f"{POOL}/{name}"
        refused = messages.PATH_ONLY_FOR_TPM(path, name, "tpm")
        channel = f"<channel type='unix'><source mode='bind' path='{path}'/>{TARGET}</channel>"
        for command, text in (
                (("attach-disk", "guest", path, "vdb", "--targetbus", "virtio"), ""),
                (("attach-device", "guest", "/dev/stdin"), channel),
                (("change-media", "guest", "sdb", path, "--live"), ""),
                (("snapshot-create-as", "guest", "--disk-only", "--diskspec", f"sda,file={path}",
                  "--reuse-external"), ""),
                (("snapshot-create-as", "guest", "--memspec", path, "--diskspec", "sda,snapshot=external"), ""),
                (("blockcopy", "guest", "sda", path, "--reuse-external", "--transient-job"), ""),
                (("backup-begin", "guest", "/dev/stdin", "--reuse-external"), backup(path)),
                (("save", "guest", path), ""),
                (("dump", "guest", path, "--memory-only"), "")):
            assert refused in tpm_host.virsh_fails(*command, input=text), command
            assert tpm_host.contents(POOL) == facts
    # An empty file is a target that libvirt makes anew, and removes when that fails.
    for command in (("snapshot-create-as", "guest", "--disk-only", "--diskspec", f"sda,file={POOL}/blank"),
                    ("blockcopy", "guest", "sda", f"{POOL}/blank", "--transient-job")):
        assert refused in tpm_host.virsh_fails(*command), command
        assert tpm_host.contents(POOL) == facts
    assert guest.state() == "running"


@pytest.mark.parametrize("name", ["one", "blank"])
def test_volume_is_no_overlay_of_a_guest_that_is_off(tpm_host, images, name):
    tpm_host.create_volume("one")
    tpm_host.create_volume("blank", tpm="<tpm manufacture='no'/>")
    facts = tpm_host.contents(POOL)
    tpm_host.define_guest(tpm=xmls.disk(images / "disk"))
    for option in ("--reuse-external", "--atomic"):
        said = tpm_host.virsh_fails("snapshot-create-as", "guest", "--disk-only", option,
                                    "--diskspec", f"sda,file={POOL}/{name}")
        assert messages.PATH_ONLY_FOR_TPM(f"{POOL}/{name}", name, "tpm") in said
        assert tpm_host.contents(POOL) == facts


@pytest.mark.parametrize("defined", [True, False])
def test_volume_is_not_deleted_with_a_snapshot(tpm_host, images, defined):
    """One whose description was changed to name it, while its pool is defined or not."""
    path = tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.disk(images / "disk"))
    guest.start()
    tpm_host.virsh("snapshot-create-as", "guest", "then", "--memspec", images / "memory",
                   "--diskspec", "sda,snapshot=external")
    text = tpm_host.virsh("snapshot-dumpxml", "guest", "then", "--security-info")
    facts = tpm_host.contents(POOL)
    tpm_host.virsh("snapshot-create", "guest", "/dev/stdin", "--redefine",
                   input=text.replace(f"{images}/memory", path))
    if not defined:
        tpm_host.virsh("pool-destroy", "tpm")
        tpm_host.virsh("pool-undefine", "tpm")
    tpm_host.virsh("snapshot-delete", "guest", "then")
    assert tpm_host.contents(POOL) == facts


def test_foreign_file_in_a_pool_is_a_disk(tpm_host):
    """What is no TPM state and has no description is nobody's volume."""
    image = tpm_host.path(f"{POOL}/image")
    tpm_host.run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M")
    tpm_host.define_guest(tpm=xmls.disk(image)).start()


def test_file_source_has_a_lock(host):
    """Two domains on one file of the user's choice."""
    state = "/var/lib/libvirt/swtpm/state"
    host.path(IMPLICIT).mkdir(exist_ok=True)
    host.run("chown", "tss:tss", IMPLICIT)
    guest = host.define_guest(tpm=tpm_path(state))
    guest.start()
    swtpm = guest.pid("swtpm")
    host.define_guest("other", tpm_path(state))
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
    host.define_guest(tpm=tpm_path("/var/lib/libvirt/swtpm/a,b"))
    assert messages.PATH_WITH_COMMA("/var/lib/libvirt/swtpm/a,b") in host.virsh_fails("start", "guest")
