"""How state is opened: swtpm gets a copy in memory, by a name that is not a link."""

import pwd
import subprocess

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


def test_module_names_its_libraries():
    """What a module calls it is linked with: it is not left to those that load it."""
    build = TOP / "build/subprojects/libvirt/src"
    needed = subprocess.check_output(["readelf", "--dynamic", build / "libvirt_storage_backend_tpm.so"],
                                     text=True)
    assert "libgnutls.so" in needed
    undefined = subprocess.run(["nm", "--dynamic", "--undefined-only",
                                build / "libvirt_storage_backend_tpm.so"],
                               text=True, capture_output=True, check=True).stdout
    assert "gnutls_" in undefined
