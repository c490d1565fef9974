"""The command line of virt-tpm-volume: arguments, interrupts, and its manual.

What it prints, to whom, and with which exit code it ends.
"""

import re
import subprocess

import messages
from host import TOP
from tpmtool import TOOL, define_with_tpm, fails, is_on_volume, no_pool_is_left, patched, works


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
