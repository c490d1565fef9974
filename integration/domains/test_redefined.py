"""Changes to a domain whose TPM is a volume, also by clients that do not know the reference and by
those of the distribution."""

import re
import uuid

import pytest

import messages
import xmls
from host import IMAGES, POOL
from watched import ONE, TWO, reference, refers


def works(host, *command):
    """Run another program than virsh, which must succeed; returns what it printed."""
    done = host.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# Changes to the domain

def edit(host, script):
    """virsh edit with an editor that follows a script of sed."""
    editor = host.path("/var/lib/libvirt/editor")
    editor.write_text(f"#!/bin/sh\nexec sed -i '{script}' \"$1\"\n")
    editor.chmod(0o755)
    return works(host, "env", f"EDITOR={editor}", "virsh", "edit", "guest")


def test_edit(watched, guest):
    host = watched.host
    edit(host, "s/262144/307200/")
    assert "<memory unit='KiB'>307200<" in host.virsh("dumpxml", "guest")
    assert reference(host) == refers("one")


@pytest.mark.parametrize("running", [False, True])
def test_define_with_another_volume(watched, guest, running):
    """A running guest keeps the one that it has until it is started again."""
    host = watched.host
    host.define_pool("other", target=IMAGES)
    host.create_volume("two", "other")
    if running:
        guest.start()
        swtpm = guest.pid("swtpm")
    guest.tpm = xmls.tpm_volume("two", "other")
    guest.define("idle")
    assert reference(host, "guest", "--inactive") == refers("two", "other")
    if running:
        assert reference(host) == refers("one")
        watched.is_held_by(swtpm)
        host.virsh("destroy", "guest")
    host.virsh("start", "guest")
    assert reference(host) == refers("two", "other")
    assert host.is_locked("/var/lib/libvirt/images/two")
    assert not host.is_locked(f"{POOL}/one")
    watched.host.virsh("destroy", "guest")


@pytest.mark.parametrize("options", [["--inactive"], ["--migratable"], ["--inactive", "--migratable"], []],
                         ids=" ".join)
@pytest.mark.parametrize("running", [False, True])
def test_dumped_xml_can_be_defined(watched, guest, options, running):
    """The identity stays with the running guest."""
    host = watched.host
    if running:
        guest.start()
    host.virsh("define", "/dev/stdin", input=host.virsh("dumpxml", "guest", *options))
    assert reference(host, "guest", "--inactive") == refers("one")
    assert "<source type='volume'/>" in host.virsh("dumpxml", "guest", "--inactive")
    if running:
        host.virsh("destroy", "guest")
    guest.start()


@pytest.mark.parametrize("action", ["attach", "detach", "update"])
@pytest.mark.parametrize("options, kind", [(["--live"], "live"), (["--config"], "persistent")])
@pytest.mark.parametrize("tpm", [ONE, TWO], ids=["one", "two"])
def test_device_commands(watched, guest, action, options, kind, tpm):
    """They say that a TPM is not what they can change."""
    host = watched.host
    if kind == "live":
        guest.start()
    before = host.virsh("dumpxml", "guest"), host.virsh("dumpxml", "guest", "--inactive")
    said = host.virsh_fails(f"{action}-device", "guest", "/dev/stdin", *options, input=tpm)
    assert f"{kind} {action} of device 'tpm' is not supported" in said
    assert (host.virsh("dumpxml", "guest"), host.virsh("dumpxml", "guest", "--inactive")) == before


# Clients that know less

def without_reference(text):
    """Domain XML as it is written by a client that knows neither <storage> nor <source>."""
    changed = re.sub("<storage [^>]*volume=[^>]*/>|<source type='volume'[^>]*/>", "", text)
    assert changed != text
    return changed


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("options", [[], ["--inactive"]], ids=["live", "inactive"])
def test_definition_that_lost_the_reference(watched, guest, running, options):
    """The guest would start with an empty TPM."""
    host = watched.host
    if running:
        guest.start()
    text = without_reference(host.virsh("dumpxml", "guest", *options))
    before = host.path("/etc/libvirt/qemu/guest.xml").read_text()
    said = host.virsh_fails("define", "/dev/stdin", input=text)
    assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in said
    assert host.path("/etc/libvirt/qemu/guest.xml").read_text() == before
    assert reference(host) == reference(host, "guest", "--inactive") == refers("one")
    # Nor does another way to start it help.
    if not running:
        assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in host.virsh_fails(
            "create", "/dev/stdin", input=text)
    host.daemon("restart", "virtqemud")
    assert reference(host, "guest", "--inactive") == refers("one")


def test_transient_domain_that_is_defined_without_the_reference(watched, guest):
    host = watched.host
    host.virsh("undefine", "guest")
    host.virsh("create", "/dev/stdin", input=guest.xml("idle"))
    text = without_reference(host.virsh("dumpxml", "guest", "--inactive"))
    assert messages.DEFINITION_LOSES_VOLUME("guest", "one", "tpm") in host.virsh_fails(
        "define", "/dev/stdin", input=text)
    host.virsh("define", "/dev/stdin", input=guest.xml("idle"))
    assert reference(host, "guest", "--inactive") == refers("one")


@pytest.mark.parametrize("tpm", [
    "", xmls.tpm_emulator(inner="<source type='dir' path='/var/lib/libvirt/images/state'/>"),
    xmls.tpm_volume("two")], ids=["none", "source", "volume"])
def test_reference_that_is_given_up_on_purpose(watched, guest, tpm):
    host = watched.host
    guest.tpm = tpm
    guest.define("info")
    if not tpm:
        guest.tpm = xmls.tpm_emulator()
        guest.define("info")
    assert host.domain_tpm("guest", "--inactive").find("storage") is None or "two" in tpm


def test_defined_as_it_was_dumped_from_a_running_guest(watched, guest):
    """Under another name; what is told of the running TPM is not kept."""
    host = watched.host
    guest.start()
    other = host.virsh("dumpxml", "guest", "--security-info").replace(guest.uuid, str(uuid.uuid4())).replace(
        "<name>guest<", "<name>other<")
    assert f"<source type='volume' uuid='{host.identity('one')}'/>" in other
    host.virsh("define", "/dev/stdin", input=other)
    for text in (host.path("/etc/libvirt/qemu/other.xml").read_text(), host.virsh("dumpxml", "other")):
        assert "<source type='volume'/>" in text


# The clients of the distribution

def test_virt_xml_keeps_the_reference(watched, guest):
    host = watched.host
    works(host, "virt-xml", "guest", "--edit", "--memory", "300")
    assert reference(host) == refers("one")
    works(host, "virt-xml", "guest", "--edit", "--tpm", "model=tpm-tis")
    assert reference(host) == refers("one")
    assert "<tpm model='tpm-tis'>" in host.virsh("dumpxml", "guest")
    guest.start()


def test_virt_clone_refers_to_the_same_volume(watched, guest):
    """Which only one of the two can use at a time."""
    host = watched.host
    works(host, "virt-clone", "--original", "guest", "--name", "other", "--auto-clone")
    assert reference(host, "other") == refers("one")
    guest.start()
    said = host.virsh_fails("start", "other")
    assert messages.IN_USE("one", "tpm", messages.PROCESS_NAMED(guest.pid("swtpm"), "swtpm")) in said
    host.virsh("destroy", "guest")
    host.virsh("start", "other")
    watched.check()
