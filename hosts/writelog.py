"""The log of a disk's writes, as QEMU's blklogwrites driver keeps it, and what a power cut
at any moment would have left on the disk.

A disk may keep what it was told to write in a cache of its own: after a power cut it has all
that it wrote before it was last told to flush that cache, and any of what came later.
"""

import random
import struct

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD = 1, 2, 4


class WriteLog:
    """The format is that of the kernel's dm-log-writes: a sector with a header, and one
    with a header for each request, before its data."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        magic, version, _, self.sector = struct.unpack_from("<QQQL", self.data)
        assert (magic, version) == (MAGIC, 1), f"{path} is no log of writes"
        self.requests = list(self._requests())

    def _requests(self):
        at = self.sector
        while at + self.sector <= len(self.data):
            sector, count, flags, _ = struct.unpack_from("<QQQQ", self.data, at)
            if not (count or flags):
                break
            at += self.sector
            yield sector * self.sector, count * self.sector, flags, at
            if not flags & DISCARD:
                at += count * self.sector

    def cut(self, number, seed, size):
        """The disk of so many bytes after a power cut behind a number of requests: all that
        was flushed, and a choice of the rest."""
        disk = bytearray(size)
        flushed = max((n + 1 for n, request in enumerate(self.requests[:number]) if request[2] & FLUSH), default=0)
        choose = random.Random(seed)
        for n, (start, length, flags, at) in enumerate(self.requests[:number]):
            if n < flushed or flags & FUA or choose.random() < 0.5:
                data = bytes(length) if flags & DISCARD else self.data[at:at + length]
                disk[start:start + length] = data
        return disk
