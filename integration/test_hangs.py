"""A file system, program or process that does not answer only delays those who need it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import messages
import storm
from expected import Output
from faults import Deed
from host import wait_for


@pytest.fixture
def stuck(tpm_host, tmp_path):
    """A file of a file system that answers no more, held open by some process of tpm_host."""
    image, shown = tmp_path / "image", tmp_path / "shown"
    image.write_bytes(bytes(1 << 20))
    shown.touch()
    server = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=file,filename={image}",
         "--export", f"type=fuse,id=export,node-name=file,mountpoint={shown},allow-other=off"])
    wait_for("the export is mounted", lambda: shown.stat().st_size or server.poll() is not None, timeout=20)
    assert server.poll() is None, "qemu-storage-daemon has ended"
    with open(shown, "rb") as file:
        holder = subprocess.Popen(["sleep", "600"], stdin=file)
    server.send_signal(signal.SIGSTOP)
    # Until then the kernel knows the answers.
    time.sleep(1.2)
    yield shown
    server.send_signal(signal.SIGCONT)
    holder.kill()
    holder.wait()
    server.terminate()
    server.wait()


LOCKER = """
import sys
sys.path.insert(0, sys.argv[1])
from host import Host
with open(sys.argv[2], "r+b") as file:
    Host.lock(file)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("stuck")
def test_file_system_that_does_not_answer(tpm_host):
    """A volume is in use, and some process has a file open of a file system that hangs: who
    asks for the volume is refused, and told who has it, and all else goes on."""
    path = tpm_host.create_volume("c0")
    tpm_host.create_volume("c1")
    # After the other: processes are looked through by their numbers.
    locker = subprocess.Popen([sys.executable, "-c", LOCKER, Path(__file__).parent, path],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert locker.stdout.readline() == "locked\n"
    try:
        clients = [storm.Client({"c": None}) for _ in range(2)]
        delete = Deed(lambda: clients[0].delete("c0"))
        refused = delete.ended(10)
        look = Deed(lambda: (clients[1].names(), clients[1].describe("c1"), clients[1].delete("c1")))
        assert look.ended(10), "nothing can be asked of the pool"
        assert refused, "vol-delete has not ended"
        assert messages.IN_USE("c0", "tpm", messages.PROCESS_NAMED(locker.pid)) in Output(delete.error)
        assert look.done, look.error
    finally:
        locker.stdin.close()
        locker.wait()
