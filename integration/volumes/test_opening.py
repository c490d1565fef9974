"""How state is opened: swtpm gets a copy in memory, by a name that is not a link.

It is done by a helper without privileges, which can be killed at any time.
"""

import pwd
import signal
import subprocess
import xml.etree.ElementTree as etree
from pathlib import Path

import pytest

import messages
import xmls
from expected import Output
from host import POOL, RUN, TOP, wait_for

# As swtpm does that follows no link.
STRICT = """
for word; do
    case $word in
        backend-uri=file://*) [ ! -L "${word#backend-uri=file://}" ] || exit 1 ;;
    esac
done
"""


def scratch(host):
    return list(host.path(RUN).glob("tpm-state.*"))


def test_strict_swtpm(tpm_host, tmp_path):
    """Copy, conversion, import and inspection, with a swtpm that follows no link."""
    first = tpm_host.define_secret("open sesame", "first")
    second = tpm_host.define_secret("sesame open", "second")
    path = tpm_host.create_volume("clear")
    tpm_host.define_pool("files", "dir", "/var/lib/libvirt/images/files")
    tpm_host.run("cp", path, "/var/lib/libvirt/images/files/state")
    tpm_host.virsh("pool-refresh", "files")
    with tpm_host.swtpm_after(STRICT):
        tpm_host.copy_volume("clear", "copy")
        tpm_host.copy_volume("clear", "one", encryption="vtpm", secret=first)
        tpm_host.copy_volume("one", "two", encryption="vtpm", secret=second)
        tpm_host.copy_volume("two", "three")
        tpm_host.copy_volume("state", "four", inputpool="files")
        tpm_host.virsh("vol-dumpxml", "two", "--pool", "tpm", "--inspect")
    assert not scratch(tpm_host)
    known = tpm_host.endorsements("clear")
    assert all(tpm_host.endorsements(name) == known for name in ("copy", "one", "two", "three", "four"))


def test_killed_while_swtpm_starts(tpm_host):
    """State of a killed daemon is in memory, where nobody else can read it, and is removed
    by the next daemon; swtpm ends as well."""
    secret = tpm_host.define_secret("open sesame", "first")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    before = tpm_host.contents(POOL)
    clear = set(tpm_host.clear_files(POOL, RUN, "/var/lib/libvirt"))
    with tpm_host.swtpm_after("sleep 2"):
        copy = subprocess.Popen(["virsh", "-q", "vol-create-from", "tpm", "/dev/stdin", "one",
                                 "--inputpool", "tpm"], stdin=subprocess.PIPE, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        copy.stdin.write("<volume><name>clear</name></volume>")
        copy.stdin.close()
        found = wait_for("swtpm is started", lambda: scratch(tpm_host), timeout=20, every=0.01)[0]
        facts = found.stat()
        assert (facts.st_mode & 0o777, facts.st_uid) == (0o700, pwd.getpwnam("tss").pw_uid)
        kind = tpm_host.run("stat", "--file-system", "--format", "%T", found).stdout.strip()
        assert kind == "tmpfs"
        tpm_host.daemon("kill", "virtstoraged")
        copy.wait(timeout=20)
    tpm_host.daemon("start", "virtstoraged")
    tpm_host.virsh("pool-refresh", "tpm")
    assert not scratch(tpm_host)
    assert tpm_host.contents(POOL) == before
    tpm_host.wait_for_none("swtpm")
    assert set(tpm_host.clear_files(POOL, RUN, "/var/lib/libvirt")) <= clear


def test_no_name_while_swtpm_runs(tpm_host):
    """Once swtpm has opened the state, it has no name: it goes with swtpm."""
    tpm_host.create_volume("one")
    with tpm_host.swtpm_after("sleep 1"):
        check = subprocess.Popen(["virsh", "-q", "vol-dumpxml", "one", "--pool", "tpm", "--inspect"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for("swtpm is started", lambda: scratch(tpm_host), timeout=20, every=0.01)
        assert check.wait(timeout=30) == 0, check.stderr.read()
    assert not scratch(tpm_host)


def symbols(module, *options):
    """The names that nm finds in a module of the storage driver."""
    build = TOP / "build/subprojects/libvirt/src"
    lines = subprocess.run(["nm", *options, build / module], text=True, capture_output=True, check=True).stdout
    return {line.split()[-1] for line in lines.splitlines()}


def test_module_names_its_libraries():
    """What a module calls it is linked with: it is not left to those that load it."""
    build = TOP / "build/subprojects/libvirt/src"
    needed = subprocess.check_output(["readelf", "--dynamic", build / "libvirt_storage_backend_tpm.so"],
                                     text=True)
    assert "libgnutls.so" in needed
    undefined = symbols("libvirt_storage_backend_tpm.so", "--dynamic", "--undefined-only")
    assert any(name.startswith("gnutls_") for name in undefined)


@pytest.mark.parametrize("module", ["libvirt_storage_backend_tpm.so", "libvirt_driver_storage.so"])
def test_no_daemon_opens_a_tpm(module):
    """What talks to swtpm or to a TPM, and takes keys that a TPM has told, is linked with the
    helper only."""
    helper = symbols("libvirt_tpmhelper")
    for name in ("virTPMHelperSwtpmInit", "virTPMHelperInspect", "virTPMHelperMessageRead32", "virTPMHelperKeyAddRSA",
                 "virTPMHelperKeyAddECC"):
        assert name in helper
    found = symbols(module) | symbols(module, "--dynamic")
    assert not {name for name in found if name.startswith("virTPMHelper")}
    assert not {name for name in found if name.startswith("gnutls_") and "_raw" in name}


# What the helper does is seen while its swtpm waits.
SLOW = "sleep 3"


def inspection(host, name="one"):
    return subprocess.Popen(["virsh", "-q", "vol-dumpxml", name, "--pool", "tpm", "--inspect"],
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def helper_of(host):
    """The process of the helper."""
    return wait_for("the helper runs", lambda: host.run("pgrep", "-f", "^[^ ]*/libvirt_tpmhelper ").stdout.split(),
                    timeout=20, every=0.01)[0]


def test_helper_has_no_privileges(tpm_host):
    """It runs as swtpm's user, without capabilities, and gets no passphrase by its arguments or
    environment."""
    secret = tpm_host.define_secret("open sesame", "first")
    tpm_host.create_volume("one", encryption="vtpm", secret=secret)
    with tpm_host.swtpm_after(SLOW):
        check = inspection(tpm_host)
        process = Path("/proc", helper_of(tpm_host))
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        assert set(status["Uid"].split()) == {str(pwd.getpwnam("tss").pw_uid)}
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert b"sesame" not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        assert check.wait(timeout=30) == 0, check.stderr.read()
    assert "verified='yes'" in check.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_helper_that_is_ended(tpm_host, number):
    """It is an error that names the volume, and nothing of it is left; the next one does it. A check
    tells that the volume was not checked."""
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    daemon = tpm_host.run("pidof", "virtstoraged").stdout
    with tpm_host.swtpm_after(SLOW):
        check = subprocess.Popen([TOP / "tools/virt-tpm-volume", "check"], text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert tpm_host.run("kill", f"-{int(number)}", helper_of(tpm_host)).returncode == 0
        said, _ = check.communicate(timeout=30)
        told = messages.HELPER_ENDED("libvirt_tpmhelper", int(number), "one", "tpm")
        assert told in Output(said) and said.startswith("one: not checked: ")
        assert check.returncode == 2
        tpm_host.wait_for_none("swtpm")
    assert not scratch(tpm_host)
    assert tpm_host.contents(POOL) == before
    assert tpm_host.run("pidof", "virtstoraged").stdout == daemon
    assert "verified='yes'" in tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm", "--inspect")


def test_conversion_that_is_ended(tpm_host):
    """No volume is made of it."""
    secret = tpm_host.define_secret("open sesame", "first")
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL)
    with tpm_host.swtpm_after(SLOW):
        copy = subprocess.Popen(["virsh", "-q", "vol-create-from", "tpm", "/dev/stdin", "one",
                                 "--inputpool", "tpm"], stdin=subprocess.PIPE, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        copy.stdin.write(xmls.volume("two", encryption="vtpm", secret=secret))
        copy.stdin.close()
        tpm_host.run("kill", "-KILL", helper_of(tpm_host))
        assert copy.wait(timeout=30) != 0
        assert messages.HELPER_ENDED("libvirt_tpmhelper", 9, "one", "tpm") in Output(copy.stderr.read())
        tpm_host.wait_for_none("swtpm")
    assert not scratch(tpm_host)
    assert tpm_host.contents(POOL) == before


def test_helper_ends_with_the_daemon(tpm_host):
    """Also if swtpm hangs: whatever is left is ended and removed when the daemon is back."""
    tpm_host.create_volume("one")
    with tpm_host.swtpm_after("sleep 1000"):
        check = inspection(tpm_host)
        helper = helper_of(tpm_host)
        assert scratch(tpm_host)
        tpm_host.daemon("kill", "virtstoraged")
        tpm_host.wait_for_end(int(helper))
        assert check.wait(timeout=30) != 0
    tpm_host.daemon("start", "virtstoraged")
    tpm_host.virsh("pool-refresh", "tpm")
    assert not scratch(tpm_host)
    tpm_host.wait_for_none("swtpm")
    tpm_host.run("pkill", "-xf", "sleep 1000")


def test_what_a_tpm_tells(tpm_host):
    """What it has room for; and its profile, if swtpm has profiles."""
    tpm_host.create_volume("one")
    text = tpm_host.virsh("vol-dumpxml", "one", "--pool", "tpm", "--inspect")
    tpm_host.validate(text, "storagevol")
    told = etree.fromstring(text).find("tpm/inspection")
    nv = {name: int(value) for name, value in told.find("nv").attrib.items()}
    # Certificates of two keys, and of the platform.
    assert nv["indices"] >= 3 and nv["objects"] >= 1 and nv["counters"] == 0
    assert nv["objectsAvailable"] > 0 and nv["countersAvailable"] > 0
    profile = told.find("profile")
    if not tpm_host.swtpm_can("cmdarg-profile"):
        assert profile is None
        return
    assert profile.get("name") and int(profile.get("formatLevel")) >= 1
