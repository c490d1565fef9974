"""What scripts/host does. See its --help."""

import argparse
import sys

from machine import Host, HostError, default_folder, wire

FOLDER = default_folder()


def existing(name):
    return Host.existing(name, FOLDER)


def start(given, name):
    """Make a host, or start one that is off as it was made."""
    try:
        host = existing(name)
    except HostError:
        host = Host(name, FOLDER, given.suite, given.share)
    host.start()
    host.boot()
    if host.share:
        host.mount_share()


def run(given, name):
    done = existing(name).run(given.command)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def remove(_, name):
    host = existing(name)
    if host.pid():
        raise HostError(f"{name} is running")
    host.remove()


def clone(_, name, other):
    existing(name).clone(other)


def show(_):
    for folder in sorted(FOLDER.glob("*")):
        pid = existing(folder.name).pid()
        print(folder.name, f"running, process {pid}" if pid else "off")


# What is done, and with how many hosts.
DEEDS = {
    "start": (start, 1),
    "run": (run, 1),
    "save": (lambda _, name: existing(name).save(), 1),
    "clone": (clone, 2),
    "wire": (lambda _, one, other: wire(existing(one), existing(other)), 2),
    "kill": (lambda _, name: existing(name).kill(), 1),
    "remove": (remove, 1),
    "list": (show, 0),
}


def main():
    parser = argparse.ArgumentParser(prog="scripts/host", add_help=False)
    parser.add_argument("--suite", default="trixie", choices=("bookworm", "trixie"))
    parser.add_argument("--share")
    parser.add_argument("deed", choices=DEEDS)
    parser.add_argument("names", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    deed, number = DEEDS[given.deed]
    if given.deed == "run":
        given.command = " ".join(given.names[1:])
        given.names = given.names[:1]
    if len(given.names) != number:
        return f"host: error: '{given.deed}' wants another number of names; see --help"
    try:
        return deed(given, *given.names)
    except HostError as error:
        return f"host: error: {error}"


sys.exit(main())
