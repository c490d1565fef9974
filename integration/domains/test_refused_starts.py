"""Guests that must not start, and the error that says why: the volume, its pool, its secret or swtpm
cannot be used."""

import contextlib
import errno
import os
import random
import subprocess

import pytest

import messages
import xmls
from expected import ANY, error
from host import IMAGES, IMPLICIT, POOL, wait_for


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
    closed = host.path(IMAGES)
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
    host.define_pool("plain", "dir", IMAGES)
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
    does_not_start(tpm_host, messages.NOT_REGULAR(f"{POOL}/one", "one", "tpm"))
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
