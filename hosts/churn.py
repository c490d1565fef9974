"""Runs in a host until its power is cut: changes the volumes of a tpm pool, one after
another, and writes down what it is about to do to which, and what is done. See
test_power_cuts.py. Usage: churn.py LOG SEED
"""

import hashlib
import os
import random
import sys

import libvirt

VOLUME = "<volume><name>{}</name></volume>"
NAMES = ("a", "b", "c")


def read(connection, volume):
    """The bytes of a volume."""
    stream = connection.newStream()
    volume.download(stream, 0, 0, 0)
    data = bytearray()
    stream.recvAll(lambda _, part, to: to.extend(part), data)
    stream.finish()
    return bytes(data)


def write(connection, volume, data):
    stream = connection.newStream()
    volume.upload(stream, 0, len(data), 0)
    rest = [data]

    def part(_, size, __):
        now, rest[0] = rest[0][:size], rest[0][size:]
        return now
    stream.sendAll(part, None)
    stream.finish()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def main(path, seed):
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(*words):
        os.write(log, (" ".join(words) + "\n").encode())
        os.fsync(log)

    connection = libvirt.open("qemu:///system")
    pool = connection.storagePoolLookupByName("tpm")
    choose = random.Random(seed)
    states = {}
    while True:
        name = choose.choice(NAMES)
        if name not in states:
            note("begin", name, "new")
            volume = pool.createXML(VOLUME.format(name))
            states[name] = read(connection, volume)
            note("done", name, digest(states[name]))
            continue
        volume = pool.storageVolLookupByName(name)
        deed = choose.choice(("upload", "wipe", "delete") if len(states) > 1 else ("wipe", "delete"))
        if deed == "upload":
            # What another volume had, so that one identity replaces another.
            data = choose.choice([state for other, state in states.items() if other != name])
            if data:
                note("begin", name, digest(data))
                write(connection, volume, data)
                states[name] = data
        elif deed == "wipe":
            note("begin", name, digest(b""))
            volume.wipe()
            states[name] = b""
        else:
            note("begin", name, "none")
            volume.delete()
            del states[name]
        note("done", name, digest(states[name]) if name in states else "none")


main(sys.argv[1], int(sys.argv[2]))
