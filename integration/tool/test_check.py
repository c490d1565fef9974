"""virt-tpm-volume check: whether volumes open and are the TPM that is described.

What is wrong, and what could not be checked, have exit codes of their own.
"""

import concurrent.futures
import contextlib
import re
import subprocess
import xml.etree.ElementTree as etree

import pytest

import messages
import xmls
from expected import Output
from host import POOL, RUN, wait_for
from tpm import ECC_EK, ENDORSEMENT, LOCKOUT, OWNER, RSA_EK, Tpm
from tpmtool import listed, patched, tool, volumes, works

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
