"""Files that stand in the place of others: links, devices, sockets and what else is no regular file.

Each is a name and what makes it, so that a test can take all of them as parameters.
"""

import contextlib
import os
import socket
import stat

# A folder that no call on a volume may touch, and what stands in its files.
OUTSIDE = "/var/lib/libvirt/outside"
MARK = "of-somebody-else"


def put(path, name):
    """The name of a file that comes in place of another, which goes."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    name(path)


def device(kind, major, minor):
    """What makes a device node."""
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        # Its name may be too long.
        here = os.getcwd()
        os.chdir(path.parent)
        sock.bind(path.name)
        os.chdir(here)


def make_folder(path):
    path.mkdir()
    (path / "file").write_text("x")


LINKS = {
    "link-to-volume": lambda path: path.symlink_to(f"{OUTSIDE}/volume"),
    "link-to-file": lambda path: path.symlink_to(f"{OUTSIDE}/shadow"),
    "dangling-link": lambda path: path.symlink_to(f"{OUTSIDE}/nothing"),
    "link-to-folder": lambda path: path.symlink_to(OUTSIDE),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}
SPECIAL = {
    "fifo": os.mkfifo,
    "socket": make_socket,
    "null": device(stat.S_IFCHR, 1, 3),
    "zero": device(stat.S_IFCHR, 1, 5),
    "block-device": device(stat.S_IFBLK, 7, 0),
    "folder": make_folder,
}
