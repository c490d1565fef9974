"""vol-upload while something else goes on: other calls, guests, clients and daemons that end, and full
disks."""

import contextlib
import socket
import subprocess
import time

import libvirt
import pytest

import messages
import xmls
from expected import Output, error
from host import POOL, wait_for
from transfers import IN_USE, upload, volume_bytes


def test_two_uploads_at_once(tpm_host):
    """The last to finish wins, whole."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    script = f"""
import libvirt
conn = libvirt.open("qemu:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("target")
streams = [conn.newStream() for _ in range(2)]
content = [open("{POOL}/" + name, "rb").read() for name in ("one", "two")]
for stream in streams:
    volume.upload(stream, 0, 0)
for part in range(2):
    for stream, bytes_ in zip(streams, content):
        half = -(-len(bytes_) // 2)
        todo = bytes_[part * half:(part + 1) * half]
        while todo:
            todo = todo[stream.send(todo):]
streams[1].finish()
streams[0].finish()
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == 0, done.stderr
    assert volume_bytes(tpm_host, "target") == volume_bytes(tpm_host, "one")


@pytest.mark.parametrize("described", [True, False])
def test_upload_to_a_volume_that_is_replaced(tpm_host, described):
    """While a state is uploaded, its volume is deleted, and another one of that name is
    created: the new TPM is not overwritten by the old one."""
    path = tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    if not described:
        tpm_host.path(f"{path}.tpm.xml").unlink()
    connection = libvirt.open("storage:///system")
    pool = connection.storagePoolLookupByName("tpm")
    stream = connection.newStream()
    pool.storageVolLookupByName("one").upload(stream, 0, 0)
    pool.storageVolLookupByName("one").delete()
    assert stream.send(content := volume_bytes(tpm_host, "other")) == len(content)
    pool.createXML(xmls.volume("one"))
    before = tpm_host.contents(POOL)
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL) == before


@pytest.mark.parametrize("described", [True, False])
def test_upload_to_a_volume_that_another_host_replaces(tpm_host, described):
    """As the one before, but nobody tells this host's storage driver."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    other = tpm_host.path(tpm_host.create_volume("other"))
    if not described:
        path.with_name("one.tpm.xml").unlink()
    connection = libvirt.open("storage:///system")
    stream = connection.newStream()
    connection.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
    assert stream.send(content := path.read_bytes()) == len(content)
    path.unlink()
    path.write_bytes(other.read_bytes())
    path.with_name("one.tpm.xml").write_bytes(other.with_name("other.tpm.xml").read_bytes())
    before = tpm_host.contents(POOL)
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL) == before


def test_upload_to_a_pool_that_gets_another_directory(tpm_host):
    """Its volumes are others then: neither of both is overwritten."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    tpm_host.create_volume("other")
    connection = libvirt.open("storage:///system")
    stream = connection.newStream()
    connection.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
    assert stream.send(content := volume_bytes(tpm_host, "other")) == len(content)
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.virsh("pool-undefine", "tpm")
    tpm_host.define_pool(target=f"{POOL}-another")
    tpm_host.create_volume("one")
    before = tpm_host.contents(POOL, f"{POOL}-another")
    with pytest.raises(libvirt.libvirtError) as refused:
        stream.finish()
    assert messages.UPLOAD_REPLACED("one", "tpm") in Output(refused.value)
    assert tpm_host.contents(POOL, f"{POOL}-another") == before
    assert path.exists()
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")


def test_upload_of_another_tpm_during_an_upload(tpm_host):
    """Two uploads of different TPMs are open when the first of them gives the volume another
    identity: the second is not refused for that."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    connection = libvirt.open("storage:///system")
    volume = connection.storagePoolLookupByName("tpm").storageVolLookupByName("target")
    streams = {name: connection.newStream() for name in ("one", "two")}
    identities = [tpm_host.identity("target")]
    for name, stream in streams.items():
        volume.upload(stream, 0, 0)
        assert stream.send(content := volume_bytes(tpm_host, name)) == len(content)
    for name, stream in streams.items():
        stream.finish()
        assert volume_bytes(tpm_host, "target") == volume_bytes(tpm_host, name)
        identities.append(tpm_host.identity("target"))
    assert len(set(identities)) == 3


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
@pytest.mark.parametrize("end", ["stream.abort()", "os.kill(os.getpid(), signal.SIGKILL)", "conn.close()"],
                         ids=["aborted", "killed", "closed"])
def test_upload_that_is_not_finished(tpm_host, uri, end):
    """All has come, but the client does not say so: the volume stays as it was."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    before = tpm_host.contents(POOL)
    script = f"""
import libvirt, os, signal
conn = libvirt.open("{uri}")
stream = conn.newStream()
conn.storagePoolLookupByName("tpm").storageVolLookupByName("one").upload(stream, 0, 0)
stream.send(open("{POOL}/other", "rb").read())
{end}
"""
    done = tpm_host.run("/usr/bin/python3", "-c", script)
    assert done.returncode == (-9 if "kill" in end else 0), done.stderr
    assert tpm_host.contents(POOL) == before
    tpm_host.virsh("vol-upload", "one", f"{POOL}/other", "--pool", "tpm")
    assert volume_bytes(tpm_host, "one") == volume_bytes(tpm_host, "other")


# A stream that takes long to finish

SLOW_FSYNC = """
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
    if (access("/run/libvirt/slow", F_OK) == 0)
        sleep(1);
    return syscall(SYS_fsync, fd);
}
"""


@pytest.fixture
def slow_disk(tpm_host, tmp_path):
    """A context manager; within it each fsync of virtstoraged takes a second more."""
    library, flag = tmp_path / "slow.so", tpm_host.path("/run/libvirt/slow")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"], input=SLOW_FSYNC, text=True, check=True)
    done = tpm_host.run("env", f"LD_PRELOAD={library}", "sandbox-daemon", "restart", "virtstoraged")
    assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def slow():
        flag.touch()
        try:
            yield
        finally:
            flag.unlink(missing_ok=True)

    yield slow
    flag.unlink(missing_ok=True)
    tpm_host.daemon("restart" if tpm_host.run("pidof", "virtstoraged").stdout else "start", "virtstoraged")


def start_upload(host, name, content, tmp_path, uri="qemu:///system", file="upload"):
    """Begin an upload with virsh, and return it when all has been sent and it is published."""
    (tmp_path / file).write_bytes(content)
    client = subprocess.Popen(["virsh", "-q", "-c", uri, "vol-upload", name, tmp_path / file, "--pool", "tpm"],
                              text=True, stderr=subprocess.PIPE)
    wait_for("the volume's new file", lambda: list(host.path(POOL).glob(f".{name}.*.tmptpm")), every=0.01)
    return client


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
def test_others_are_served_while_an_upload_finishes(tpm_host, slow_disk, tmp_path, uri):
    """Where each fsync takes a second: the daemon of the volume and the one that passes it on."""
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    script = """
import libvirt, sys, time
conns = [libvirt.open(uri) for uri in ("qemu:///system", "storage:///system")]
print("ready", flush=True)
worst, until = 0, time.monotonic() + 2
while time.monotonic() < until:
    for conn in conns:
        begin = time.monotonic()
        conn.storagePoolLookupByName("tpm").storageVolLookupByName("one").info()
        worst = max(worst, time.monotonic() - begin)
print(worst)
"""
    with slow_disk(), subprocess.Popen(["/usr/bin/python3", "-c", script], text=True,
                                       stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "ready\n"
        begin = time.monotonic()
        with start_upload(tpm_host, "one", content, tmp_path, uri) as client:
            assert client.wait() == 0, client.stderr.read()
        taken = time.monotonic() - begin
        assert taken > 1.5, "nothing was slow: that shows nothing"
        assert float(other.stdout.read()) < taken / 2


@pytest.mark.parametrize("uri", ["qemu:///system", "storage:///system"])
def test_client_that_dies_while_its_upload_finishes(tpm_host, slow_disk, tmp_path, uri):
    """All has come: the volume gets it. The daemons go on."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    content = volume_bytes(tpm_host, "other")
    pids = tpm_host.run("pidof", "virtstoraged", "virtqemud").stdout
    with slow_disk(), start_upload(tpm_host, "one", content, tmp_path, uri) as client:
        client.kill()
    wait_for("the upload", lambda: volume_bytes(tpm_host, "one") == content)
    wait_for("its end", lambda: not tpm_host.is_locked(tpm_host.path(f"{POOL}/one")))
    assert tpm_host.endorsements("one") == tpm_host.endorsements("other")
    assert set(tpm_host.contents(POOL)) == {f"{POOL}/{name}{end}" for name in ("one", "other")
                                            for end in ("", ".tpm.xml")}
    tpm_host.virsh(*upload(tpm_host, "one", content, tmp_path))
    assert tpm_host.run("pidof", "virtstoraged", "virtqemud").stdout == pids


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_daemon_that_ends_while_an_upload_finishes(tpm_host, slow_disk, tmp_path, action):
    """One that is stopped waits for it; one that is killed leaves the old volume or the new one."""
    tpm_host.create_volume("one")
    tpm_host.create_volume("other")
    contents = [volume_bytes(tpm_host, name) for name in ("one", "other")]
    keys = [tpm_host.endorsements(name) for name in ("one", "other")]
    with slow_disk(), start_upload(tpm_host, "one", contents[1], tmp_path) as client:
        tpm_host.daemon(action, "virtstoraged")
        assert client.wait() != 0
    which = contents.index(volume_bytes(tpm_host, "one"))
    tpm_host.daemon("start", "virtstoraged")
    tpm_host.virsh("pool-refresh", "tpm")
    assert not list(tpm_host.path(POOL).glob(".*"))
    if action == "stop":
        assert which == 1
        assert tpm_host.endorsements("one") == keys[1]
    else:
        # Certificates may be missing, but are never those of another TPM.
        assert tpm_host.endorsements("one") in ({}, keys[which])
    tpm_host.virsh(*upload(tpm_host, "one", contents[1], tmp_path))


def test_second_upload_while_the_first_one_finishes(tpm_host, slow_disk, tmp_path):
    """It waits, and is the one that lasts."""
    for name in ("one", "two", "target"):
        tpm_host.create_volume(name)
    contents = [volume_bytes(tpm_host, name) for name in ("one", "two")]
    with slow_disk(), start_upload(tpm_host, "target", contents[0], tmp_path) as first:
        tpm_host.virsh(*upload(tpm_host, "target", contents[1], tmp_path))
        assert first.wait() == 0, first.stderr.read()
    assert volume_bytes(tpm_host, "target") == contents[1]
    assert tpm_host.endorsements("target") == tpm_host.endorsements("two")


def test_messages_after_the_end_of_a_stream(tpm_host, slow_disk):
    """A client that sends more, or goes back on its word, while its upload finishes."""
    tpm_host.create_volume("one")
    script = f"""
import libvirt, threading, time
conn = libvirt.open("storage:///system")
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
content = open("{POOL}/one", "rb").read()
stream = conn.newStream()
volume.upload(stream, 0, 0)
stream.sendAll(lambda stream, size, file: file.read(size), open("{POOL}/one", "rb"))
finish = threading.Thread(target=stream.finish)
finish.start()
time.sleep(0.5)
for late in (lambda: stream.send(b"more"), stream.abort):
    try:
        late()
    except libvirt.libvirtError as error:
        print(error)
finish.join()
"""
    pids = tpm_host.run("pidof", "virtstoraged").stdout
    content = volume_bytes(tpm_host, "one")
    with slow_disk():
        done = tpm_host.run("timeout", "30", "/usr/bin/python3", "-c", script)
    assert done.returncode in (0, 1), done.stderr
    assert volume_bytes(tpm_host, "one") == content
    assert tpm_host.run("pidof", "virtstoraged").stdout == pids
    tpm_host.virsh("vol-info", "one", "--pool", "tpm")


def test_busy_pool_says_so(tpm_host, slow_disk):
    """A volume is being made: that is no internal error."""
    with slow_disk(), subprocess.Popen(["virsh", "-q", "vol-create-as", "tpm", "one", "1M"]) as client:
        wait_for("the volume's file", lambda: list(tpm_host.path(POOL).glob(".one.*.tmptpm")), every=0.01)
        for command in ("pool-refresh", "pool-destroy"):
            said = tpm_host.virsh_fails(command, "tpm")
            assert messages.POOL_BUSY("tpm") in said
        assert client.wait() == 0
    tpm_host.virsh("pool-refresh", "tpm")


def test_upload_to_a_volume_in_use(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    tpm_host.define_guest(tpm=xmls.tpm_volume("one")).start()
    inode = tpm_host.path(f"{POOL}/one").stat().st_ino
    said = tpm_host.virsh_fails(*upload(tpm_host, "one", volume_bytes(tpm_host, "one"), tmp_path))
    assert IN_USE in said
    assert tpm_host.path(f"{POOL}/one").stat().st_ino == inode


def test_guest_that_starts_during_an_upload(tpm_host):
    """It starts; the upload fails when it is finished."""
    tpm_host.create_volume("one")
    guest = tpm_host.define_guest(tpm=xmls.tpm_volume("one"))
    script = f"""
import libvirt, sys
conn = libvirt.open("qemu:///system")
stream = conn.newStream()
volume = conn.storagePoolLookupByName("tpm").storageVolLookupByName("one")
content = open("{POOL}/one", "rb").read()
volume.upload(stream, 0, 0)
stream.send(content)
print("sent", flush=True)
sys.stdin.readline()
stream.finish()
"""
    with subprocess.Popen(["/usr/bin/python3", "-c", script], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout.readline() == "sent\n"
        guest.start()
        client.stdin.write("\n")
        client.stdin.close()
        said = Output(client.stderr.read())
    assert IN_USE in said
    assert guest.state() == "running"


def test_upload_to_a_full_disk(tpm_host, tmp_path):
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.run("mount", "-t", "tmpfs", "-o", "size=24k,mode=0711", "tmpfs", POOL)
    try:
        tpm_host.virsh("pool-start", "tpm")
        tpm_host.create_volume("one", tpm=xmls.BLANK)
        tpm_host.path(f"{POOL}/.fill").write_bytes(bytes(12 << 10))
        before = tpm_host.contents(POOL)
        said = tpm_host.virsh_fails(*upload(tpm_host, "one", content, tmp_path))
        assert "No space left on device" in said
        assert tpm_host.contents(POOL) == before
        tpm_host.virsh("pool-destroy", "tpm")
    finally:
        tpm_host.run("umount", POOL)


def test_wipe_on_a_full_disk(tpm_host):
    """A volume is blank or as it was; its content never stays under another name."""
    tpm_host.create_volume("one")
    content = volume_bytes(tpm_host, "one")
    tpm_host.virsh("pool-destroy", "tpm")
    tpm_host.run("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=8,mode=0711", "tmpfs", POOL)
    try:
        # The folder and the volume take two of the eight files that there may be.
        for left in (0, 1, 2, 5):
            path = tpm_host.path(f"{POOL}/one")
            path.write_bytes(content)
            for number in range(6 - left):
                path.with_name(f".fill{number}").symlink_to("/")
            tpm_host.virsh("pool-start", "tpm")
            done = tpm_host.run("virsh", "vol-wipe", "one", "--pool", "tpm")
            assert done.returncode == 0 or "No space left on device" in done.stderr
            assert path.read_bytes() == (content if done.returncode else b"")
            assert done.returncode or left
            assert done.returncode == 0 or left < 5
            assert not [file for file in path.parent.iterdir() if "tpm" in file.suffix]
            for file in path.parent.glob(".fill*"):
                file.unlink()
            tpm_host.virsh("pool-destroy", "tpm")
    finally:
        tpm_host.run("umount", POOL)


def test_lock_of_somebody_unseen(tpm_host, tmp_path):
    """As of another host: here of a descriptor that is on its way between two processes."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    one, other = socket.socketpair()
    with one, other:
        with open(path, "r+b") as file:
            tpm_host.lock(file)
            socket.send_fds(one, [b"x"], [file.fileno()])
        for command in (["vol-wipe", "one"], ["vol-delete", "one"], ["vol-upload", "one", path]):
            assert messages.IN_USE_ELSEWHERE("one", "tpm") in tpm_host.virsh_fails(*command, "--pool", "tpm")
    tpm_host.virsh("vol-delete", "one", "--pool", "tpm")


def test_volume_that_is_gone(tpm_host, tmp_path):
    """Its file was removed behind the pool's back."""
    path = tpm_host.path(tpm_host.create_volume("one"))
    content = path.read_bytes()
    path.unlink()
    message = messages.FILE_NOT_FOUND(f"{POOL}/one", "one", "tpm")
    assert message in tpm_host.virsh_fails(*upload(tpm_host, "one", content, tmp_path))
    assert message in tpm_host.virsh_fails("vol-wipe", "one", "--pool", "tpm")
    for command in ("vol-dumpxml", "vol-info"):
        assert error("VIR_ERR_NO_STORAGE_VOL", "one") in tpm_host.virsh_fails(command, "one", "--pool", "tpm")
    assert message in tpm_host.virsh_fails("vol-download", "one", tmp_path / "copy", "--pool", "tpm")
