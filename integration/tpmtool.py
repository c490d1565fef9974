"""Runs virt-tpm-volume, on domains that have a TPM.

Domains are made with the TPM that libvirt creates itself, for adopt to find.
"""

import re
import xml.etree.ElementTree as etree

import xmls
from host import TOP

TOOL = TOP / "tools/virt-tpm-volume"


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


def inactive_xml(host, name="guest"):
    return host.virsh("dumpxml", name, "--inactive", "--security-info")


def volumes(host, pool="tpm"):
    return [line.split()[0] for line in host.virsh("vol-list", pool).splitlines()]


def no_pool_is_left(host):
    return host.virsh("pool-list", "--all", "--name").split() == ["tpm"]


def listed(host, *args):
    """What list prints, as rows, without the titles."""
    return [re.split(" {3,}", line.strip()) for line in works(host, "list", *args).splitlines()[2:]]
