"""The rows of the table: what is measured, against what, and the bar of the ratio."""

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import xmls
from lab import POOLS, volume_name
from measure import Samples, alternate, seconds

MANY = 10_000
FEW = 10


@dataclass
class Row:
    """bar is the largest ratio that is fine; measure(lab) returns Samples."""

    name: str
    what: str
    against: str
    bar: float
    measure: Callable


# Making volumes

def create(lab, count, jobs, make, times):
    """Volumes that make(pool, names) makes, so many at once, against as many swtpm_setup, as
    many at once. How long an RSA key takes is chance: that wants many samples."""
    pool = lab.empty_pool()
    names = [volume_name(number) for number in range(count)]

    def volumes():
        taken = seconds(make, pool, names)
        # Must succeed: so all of them had been made.
        lab.virsh_commands(f"vol-delete --pool {pool} {name}" for name in names)
        return taken

    def bare():
        return seconds(lab.bare_setup, lab.setup_directories(count), jobs)

    return alternate(volumes, bare, times)


def create_serial(lab):
    def make(pool, names):
        lab.virsh_commands(f"vol-create {pool} {lab.volume_file(name)}" for name in names)

    return create(lab, 20, 1, make, lab.times(40, 2))


def create_parallel(lab):
    clients = [lab.storage() for _ in range(8)]

    def make(pool, names):
        # As xargs does: who is free takes the next one.
        left = iter(names)

        def run(client):
            for name in left:
                client.storagePoolLookupByName(pool).createXML(xmls.volume(name))

        with ThreadPoolExecutor(len(clients)) as threads:
            list(threads.map(run, clients))

    return create(lab, 32, len(clients), make, lab.times(40, 2))


def create_among_many(lab):
    many, few = lab.make_pool("tpm", MANY), lab.make_pool("tpm", FEW)
    lab.only(many, few)
    storage = lab.storage()

    def side(name):
        pool = storage.storagePoolLookupByName(name)

        def one():
            taken = seconds(pool.createXML, xmls.volume("new"))
            pool.storageVolLookupByName("new").delete()
            return taken
        return one

    return alternate(side(many), side(few), lab.times(100, 10))


# Starting guests

def start_first(lab):
    pool = lab.empty_pool()
    numbers = itertools.count()

    def side(tpm, prepare=None):
        def one():
            if prepare:
                prepare()
            # Each time another guest: libvirt has made nothing for it yet.
            guest = lab.define_idle(f"first{next(numbers)}", tpm)
            taken = seconds(lab.start, guest)
            lab.stop(guest)
            lab.forget(guest)
            return taken
        return one

    def new_volume():
        if "first" in lab.virsh("vol-list", pool).split():
            lab.virsh("vol-delete", "first", "--pool", pool)
        lab.create_volume("first", pool)

    samples = alternate(side(xmls.tpm_volume("first", pool), new_volume),
                        side(xmls.tpm_emulator()), lab.times(30, 3))
    lab.virsh("vol-delete", "first", "--pool", pool)
    return samples


def alternate_starts(lab, ours, theirs, times):
    """Later starts of two guests with these TPMs; their first one is the warm-up."""
    def side(name, tpm):
        guest = lab.define_idle(name, tpm)

        def one():
            taken = seconds(lab.start, guest)
            lab.stop(guest)
            return taken
        return guest, one

    (guest1, start1), (guest2, start2) = side("guest1", ours), side("guest2", theirs)
    samples = alternate(start1, start2, times)
    lab.forget(guest1)
    lab.forget(guest2)
    return samples


def start_later(lab):
    pool = lab.empty_pool()
    lab.create_volume("later", pool)
    samples = alternate_starts(lab, xmls.tpm_volume("later", pool), xmls.tpm_emulator(),
                               lab.times(100, 10))
    lab.virsh("vol-delete", "later", "--pool", pool)
    return samples


def start_among_many(lab):
    many, few = lab.make_pool("tpm", MANY), lab.make_pool("tpm", FEW)
    lab.only(many, few)
    return alternate_starts(lab, xmls.tpm_volume(volume_name(FEW // 2), many),
                            xmls.tpm_volume(volume_name(FEW // 2), few), lab.times(200, 10))


def processes(lab):
    """How many processes a running guest adds that are neither QEMU nor swtpm."""
    pool = lab.empty_pool()
    lab.create_volume("processes", pool)
    guest = lab.define_idle("processes", xmls.tpm_volume("processes", pool))
    before = lab.processes()
    lab.start(guest)
    new = {pid: name for pid, name in lab.processes().items() if pid not in before}
    lab.stop(guest)
    lab.forget(guest)
    lab.virsh("vol-delete", "processes", "--pool", pool)
    own = {pid for pid, name in new.items() if name == "swtpm" or name.startswith("qemu-system")}
    assert len(own) == 2, f"QEMU and swtpm should be running: {new}"
    return Samples([len(new) - len(own)], [1])


# Pools with many volumes

def refresh(lab):
    tpm, plain = lab.make_pool("tpm", MANY), lab.make_pool("dir", MANY)
    lab.only(tpm, plain)
    storage = lab.storage()

    def side(name):
        pool = storage.storagePoolLookupByName(name)
        assert pool.numOfVolumes() == MANY
        return lambda: seconds(pool.refresh)

    return alternate(side(tpm), side(plain), lab.times(40, 5))


@functools.cache
def memory(lab):
    """Samples of virtstoraged's memory after a refresh, and after all volumes have been
    described as well."""
    refreshed, described = Samples(), Samples()

    def side(kind):
        pool = lab.make_pool(kind, MANY)
        lab.only()
        lab.daemon("restart", "virtstoraged")
        lab.only(pool)
        storage = lab.storage()
        storage.storagePoolLookupByName(pool).refresh()
        after_refresh = memory_of_virtstoraged()
        describe(storage, kind, MANY, MANY)
        return after_refresh, memory_of_virtstoraged()

    both = alternate(lambda: side("tpm"), lambda: side("dir"), lab.times(3, 1), warm_up=False)
    refreshed.ours, described.ours = map(list, zip(*both.ours))
    refreshed.theirs, described.theirs = map(list, zip(*both.theirs))
    return refreshed, described


def memory_of_virtstoraged():
    """In KiB; of what is shared with other processes, its share."""
    pid = Path("/run/libvirt/virtstoraged.pid").read_text(encoding="ascii").strip()
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss in smaps_rollup")


def describe(storage, kind, size, count):
    """vol-dumpxml of so many volumes of a pool, by path."""
    for number in range(count):
        path = f"{POOLS}/{kind}-{size}/{volume_name(number)}"
        storage.storageVolLookupByPath(path).XMLDesc()


def dumpxml(lab, count=1000):
    def side(kind):
        pool = lab.make_pool(kind, count)

        def block():
            lab.only(pool)
            return seconds(describe, lab.storage(), kind, count, count)
        return block

    return alternate(side("tpm"), side("dir"), lab.times(50, 5))


ROWS = (
    Row("create", "20 volumes made in one connection", "20 bare swtpm_setup", 1.10, create_serial),
    Row("create-parallel", "32 volumes made by 8 clients at once",
        "32 bare swtpm_setup, 8 at once", 1.10, create_parallel),
    Row("start-first", "first start of a guest with a volume",
        "with libvirt's implicit TPM", 0.90, start_first),
    Row("start-later", "later starts of a guest with a volume",
        "with libvirt's implicit TPM", 1.03, start_later),
    Row("refresh", "pool-refresh of 10,000 volumes", "dir pool, same files", 1.10, refresh),
    Row("memory", "virtstoraged's memory after it", "dir pool, same files", 1.10,
        lambda lab: memory(lab)[0]),
    Row("memory-dumpxml", "and after vol-dumpxml of all 10,000", "dir pool, same files", 1.10,
        lambda lab: memory(lab)[1]),
    Row("dumpxml", "vol-dumpxml of 1,000 volumes by path", "dir pool, same files", 1.10, dumpxml),
    Row("create-among-many", "vol-create where 10,000 volumes exist",
        "where 10 exist", 1.05, create_among_many),
    Row("start-among-many", "start of a guest, its pool holding 10,000",
        "holding 10", 1.03, start_among_many),
    Row("processes", "processes beside QEMU and swtpm", "-", 0, processes),
)
