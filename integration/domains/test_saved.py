"""Guests that are saved and restored, and volumes that change between look-up and lock.

A guest gets back the TPM that it was saved with, or none.
"""

import contextlib
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

import messages
import xmls
from expected import Output, error
from host import GUEST_DIR, IMPLICIT, POOL, wait_for
from watched import ONE, PASSPHRASE, TWO, reference, refers


# Saved and restored

def image_xml(host, image, old, new):
    """The XML of a saved image with another <tpm> or a part of it."""
    text = host.virsh("save-image-dumpxml", image, "--security-info")
    changed = re.sub(old, new, text, flags=re.S)
    assert changed != text
    path = image.with_suffix(".xml")
    path.write_text(changed)
    return path


@pytest.mark.guest
def test_saved_guest_goes_on(watched_both, tmp_path):
    host = watched_both.host
    image = tmp_path / "image"
    guest = host.define_guest(tpm=ONE)
    guest.start("watch")
    secret = guest.wait_report("sealed").split()[1]

    def goes_on(volume="one"):
        assert reference(host) == refers(volume)
        assert guest.next_report("unsealed").split()[1] == secret
        watched_both.check()

    host.virsh("save", "guest", image)
    watched_both.is_off()
    host.virsh("restore", image)
    goes_on()
    assert error("VIR_ERR_OPERATION_INVALID", "guest", "already active") in host.virsh_fails("restore", image)
    host.virsh("destroy", "guest")
    host.virsh("restore", image)
    goes_on()
    host.virsh("managedsave", "guest")
    watched_both.is_off()
    host.virsh("start", "guest")
    goes_on()

    host.virsh("destroy", "guest")
    watched_both.create("two", source="one")
    facts = host.contents(POOL)[f"{POOL}/one"]
    host.virsh("restore", image, "--xml", image_xml(host, image, "volume='one'", "volume='two'"))
    goes_on("two")
    host.virsh("destroy", "guest")
    watched_both.is_off()
    assert host.contents(POOL)[f"{POOL}/one"] == facts


def test_restored_without_the_reference(watched, guest, tmp_path):
    """Its TPM would be in a place where libvirt keeps those that it makes, and the volume left behind."""
    host = watched.host
    image = tmp_path / "image"
    guest.start()
    host.virsh("save", "guest", image)
    changed = image_xml(host, image, "<tpm.*</tpm>", xmls.tpm_emulator())
    before = host.contents(POOL, IMPLICIT, tmp_path)
    assert messages.ABI_NO_VOLUME("one", "tpm") in host.virsh_fails("restore", image, "--xml", changed)
    assert host.contents(POOL, IMPLICIT, tmp_path) == before


def wipe(host):
    host.virsh("vol-wipe", "one", "--pool", "tpm")


def delete(host):
    host.virsh("vol-delete", "one", "--pool", "tpm")


def create_again(host):
    """Another TPM of the same name."""
    delete(host)
    host.create_volume("one")


def lose_description(host):
    """It could be any TPM's volume by now."""
    host.path(f"{POOL}/one.tpm.xml").unlink()


def create_blank(host):
    """With the very identity."""
    identity = host.identity("one")
    delete(host)
    host.create_volume("one", tpm=f"<tpm manufacture='no'><uuid>{identity}</uuid></tpm>")


@pytest.mark.parametrize("managed", [False, True], ids=["save", "managedsave"])
@pytest.mark.parametrize("harm, message", [
    (wipe, lambda *_: messages.BLANK("one", "tpm")),
    (delete, lambda *_: messages.NOT_FOUND_IN_EMPTY_DIRECTORY("one", "tpm", POOL)),
    (create_again, lambda saved, now: messages.HAS_OTHER_IDENTITY("one", "tpm", now, saved)),
    (lose_description, lambda saved, _: messages.HAS_NO_IDENTITY("one", "tpm", saved)),
    (create_blank, lambda *_: messages.BLANK("one", "tpm")),
], ids=["wiped", "deleted", "created-again", "no-description", "blank"])
def test_harmed_meanwhile(tpm_host, tmp_path, harm, message, managed):
    """The saved guest is kept, and what is there in place of the volume."""
    tpm_host.create_volume("one")
    saved = tpm_host.identity("one")
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start()
    image = tpm_host.path("/var/lib/libvirt/qemu/save/guest.save") if managed else tmp_path / "image"
    tpm_host.virsh(*(["managedsave", "guest"] if managed else ["save", "guest", image]))
    harm(tpm_host)
    now = tpm_host.identity("one") if harm is create_again else None
    before = tpm_host.contents(POOL, IMPLICIT, image.parent)
    said = tpm_host.virsh_fails(*(["start", "guest"] if managed else ["restore", image]))
    assert message(saved, now) in said
    assert tpm_host.contents(POOL, IMPLICIT, image.parent) == before
    assert guest.state() == "shut off"
    tpm_host.wait_for_none("swtpm")


@pytest.mark.parametrize("described", [True, False], ids=["described", "no-description"])
@pytest.mark.parametrize("source", [ONE, xmls.tpm_emulator()], ids=["volume", "implicit"])
def test_restored_on_another_tpm(tpm_host, tmp_path, source, described):
    """A volume of which the saved guest knows nothing is not overwritten with its TPM, nor one
    whose identity is not known."""
    for name in ("one", "two"):
        tpm_host.create_volume(name)
    if not described:
        tpm_host.path(f"{POOL}/two.tpm.xml").unlink()
    guest = tpm_host.define_guest(tpm=source)
    guest.start()
    image = tmp_path / "image"
    tpm_host.virsh("save", "guest", image)
    changed = image_xml(tpm_host, image, "<tpm.*</tpm>", TWO)
    before = tpm_host.contents(POOL, IMPLICIT, tmp_path)
    found = [tpm_host.identity("two")] if described else []
    # The saved guest tells which TPM it had, but for one that was on no volume.
    if source == ONE:
        message = messages.HAS_OTHER_IDENTITY if described else messages.HAS_NO_IDENTITY
        expected = [tpm_host.identity("one")]
    else:
        message = messages.IDENTITY_NOT_KNOWN if described else messages.HAS_NO_IDENTITY_AND_NONE_EXPECTED
        expected = []
    assert message("two", "tpm", *found, *expected) in tpm_host.virsh_fails("restore", image, "--xml", changed)
    assert tpm_host.contents(POOL, IMPLICIT, tmp_path) == before


@pytest.mark.parametrize("how", ["restore", "managedsave"])
def test_encrypted_tpm_is_not_restored_on_a_clear_volume(tpm_host, tmp_path, how):
    """A copy of the volume that was made without a secret while the guest was saved. swtpm finds that
    when it is given the TPM, and writes nothing."""
    secret = tpm_host.define_secret(PASSPHRASE, "key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start_paused()
    image = tmp_path / "image"
    tpm_host.virsh(*(["managedsave", "guest"] if how == "managedsave" else ["save", "guest", image]))
    tpm_host.copy_volume("one", "two")
    for suffix in ("", ".tpm.xml"):
        tpm_host.path(f"{POOL}/two{suffix}").replace(f"{POOL}/one{suffix}")
    tpm_host.virsh("pool-refresh", "tpm")
    before = tpm_host.path(f"{POOL}/one").read_bytes()
    said = tpm_host.virsh_fails(*(["start", "guest"] if how == "managedsave" else ["restore", image]))
    assert messages.CLEAR_SINCE_SAVED("one", "tpm") in said
    assert tpm_host.path(f"{POOL}/one").read_bytes() == before
    assert guest.state() == "shut off"


@pytest.mark.parametrize("how", ["restore", "managedsave"])
def test_secret_that_was_changed_since_the_guest_was_saved(tpm_host, tmp_path, how):
    """The passphrase encrypts the TPM in the guest's saved memory, too: the guest starts with the old one."""
    secret = tpm_host.define_secret(PASSPHRASE, "key")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    guest = tpm_host.define_guest(tpm=ONE)
    guest.start_paused()
    image = tmp_path / "image"
    save, start = ((["managedsave", "guest"], ["start", "guest"]) if how == "managedsave" else
                   (["save", "guest", image], ["restore", image]))
    tpm_host.virsh(*save)
    before = tpm_host.path(f"{POOL}/one").read_bytes()
    tpm_host.set_secret(secret, "changed")
    assert messages.OTHER_SECRET_SINCE_SAVED("one", "tpm") in tpm_host.virsh_fails(*start)
    assert tpm_host.path(f"{POOL}/one").read_bytes() == before
    assert guest.state() == "shut off"
    tpm_host.set_secret(secret, PASSPHRASE)
    tpm_host.virsh(*start)
    assert guest.state() == "paused"


# What changes between look-up and lock

def waits_for_reader(path):
    """Whether a process waits in open() for somebody to read from a pipe: openat is system call
    257, or 2."""
    for name in Path("/proc").glob("[0-9]*/task/*/syscall"):
        with contextlib.suppress(OSError):
            if name.read_text().split()[0] in ("257", "2"):
                return stat.S_ISFIFO(path.stat().st_mode)
    return False


def change_while_starting(guest, change):
    """Start a guest, and change something when libvirt has looked up the volume, and not locked it
    yet: it opens the file of the guest's console in between. Returns what virsh said."""
    console = guest.host.path(f"{GUEST_DIR}/{guest.name}.console")
    console.unlink(missing_ok=True)
    os.mkfifo(console, 0o666)
    starting = subprocess.Popen(["virsh", "-q", "start", guest.name], stderr=subprocess.PIPE, text=True)
    try:
        wait_for("virtqemud opens the console", lambda: waits_for_reader(console), timeout=30)
        change()
    finally:
        reader = os.open(console, os.O_RDONLY | os.O_NONBLOCK)
    said = Output(starting.communicate(timeout=30)[1])
    os.close(reader)
    console.unlink()
    assert starting.returncode, "it has started"
    return said


@pytest.mark.parametrize("command", ["managedsave", "start"])
def test_another_volume_while_starting(tpm_host, command):
    """Which holds another TPM by now: it is not overwritten with the one that was saved, nor is
    the guest started with it unawares."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=ONE)
    guest.define("idle")
    if command == "managedsave":
        guest.start()
        tpm_host.virsh("managedsave", "guest")
    said = change_while_starting(guest, lambda: create_again(tpm_host))
    assert messages.CHANGED_WHILE_STARTING("one", "tpm") in said
    assert guest.state() == "shut off"
    tpm_host.wait_for_none("swtpm")
    # It is as it was made: certificates and state are of one TPM.
    tpm_host.opens_in_swtpm(f"{POOL}/one")
    if command == "managedsave":
        tpm_host.virsh("managedsave-remove", "guest")
    guest.start()


def test_another_secret_while_starting(tpm_host):
    secrets = [tpm_host.define_secret(PASSPHRASE, f"tpm-{name}") for name in ("one", "two")]
    tpm_host.create_volume("one", encryption="vtpm", secret=secrets[0])
    guest = tpm_host.define_guest(tpm=ONE)
    guest.define("idle")

    def change():
        sidecar = tpm_host.path(f"{POOL}/one.tpm.xml")
        sidecar.write_text(sidecar.read_text().replace(*secrets))

    said = change_while_starting(guest, change)
    assert messages.CHANGED_WHILE_STARTING("one", "tpm") in said
    guest.start()
