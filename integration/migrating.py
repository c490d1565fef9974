"""Guests that migrate, slowly, and what ends meanwhile.

What goes wrong in the middle of a migration needs one that lasts long enough.
"""

import concurrent.futures
import contextlib
import time

import xmls
from host import wait_for


def start_guest(host, actions="watch", tpm=xmls.tpm_volume("one")):
    """Start a guest that uses its TPM all the time; returns it and what it has sealed."""
    guest = host.define_guest(tpm=tpm)
    guest.start(actions)
    sealed = guest.wait_report("sealed").split()[1] if actions == "watch" else None
    return guest, sealed


def kill_process(name):
    return lambda host: host.run("pkill", "-9", "-x", name)


def kill_daemon(host):
    host.daemon("kill", "virtqemud")
    time.sleep(0.5)
    host.daemon("start", "virtqemud")


@contextlib.contextmanager
def slow_migration(guest, target):
    """A migration that is half-way; waits for its end, which must be a failure."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = pool.submit(guest.host.virsh_fails, *guest.migration(target, "--bandwidth", "1"))
        wait_for("the guest comes in", lambda: "guest" in target.virsh("list", "--name"), every=0.02)
        try:
            yield
        finally:
            # libvirt sets the bandwidth it was given when it begins to send, which may be only now.
            while not done.done():
                guest.host.run("virsh", "migrate-setspeed", guest.name, "1000")
                time.sleep(0.2)
        done.result()
