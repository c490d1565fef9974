"""Each call of virtstoraged that can fail fails once, before each the daemon is killed, and before
each another operation on the same volume is run, by another host that shares the pool's
directory."""

import collections
import errno
from pathlib import Path

import libvirt
import pytest

import faults
import storm
import xmls
from faults import (ACTORS, CHANGING, ERASING, LASTING, MAKING, NAMING, OPERATIONS, Judge, Lab, View, Witness, fits,
                    same_or_fresh)
from preload import KINDS, PATIENCE, USUAL, Deed, Preload
from host import RUN, Host
from hosts import OtherHost


@pytest.fixture(scope="module")
def lab(common_folder):
    """A Lab whose virtstoraged is preloaded, as lab.preload."""
    host = Host()
    with Preload(host, [common_folder, RUN]) as preload:
        lab = Lab(host, common_folder)
        lab.preload = preload
        lab.base(View(host, lab.secrets, common_folder, "storage:///system").client)
        yield lab
        preload.disarm()
        lab.close()
    host.clean_up()


def report(wrong, name, config):
    """Fail, if something was wrong."""
    if config.getoption("reports"):
        Path(config.getoption("reports"), name).write_text("\n".join(wrong))
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


class Failures:
    """Makes calls fail that an operation makes."""

    def __init__(self, lab, config):
        self.lab = lab
        self.thorough = config.getoption("thorough")
        self.lasting = config.getoption("lasting")
        self.kinds = tuple(KINDS) if self.thorough else USUAL
        self.view = View(lab.host, lab.secrets, lab.folder, "storage:///system")
        self.judge = Judge(lab, self.view)
        self.steps = 0

    def run(self, operation):
        """All calls of an operation, one after the other; returns what was wrong, in words."""
        new = self.judge.learn(operation)
        wrong = []
        number = choice = 0
        while True:
            call, found = self.step(operation, new, number + 1, choice)
            if call is None:
                return wrong
            if found:
                wrong.append(self.tell(operation, number + 1, call, found))
            choice += 1
            # A lock that is refused may be asked for again: both are quick to try.
            if choice >= (len(call.wanted) if self.thorough or "fcntl" in str(call) else 1):
                number, choice = number + 1, 0

    def tell(self, operation, number, call, found):
        """What was wrong, in words."""
        return "\n".join([f"{operation.name}, call {number}, {call}: {errno.errorcode[call.error]}",
                          *(f"        {line}" for line in self.lab.preload.stack(call)),
                          *(f"    {line}" for line in found)])

    def step(self, operation, new, number, choice):
        """An operation of which a call fails; returns the call, None if there are not so many,
        and what was wrong."""
        self.steps += 1
        self.judge.set_up(operation)
        witness = Witness(operation.volume and self.lab.folder / operation.volume)
        self.lab.preload.arm(self.kinds, fail=number, choice=choice, lasting=self.lasting)
        deed = Deed(lambda: operation.function(self.lab, self.view.client))
        ended = deed.ended(PATIENCE)
        calls = self.lab.preload.disarm()
        call = calls[number - 1] if len(calls) >= number else None
        if not ended:
            return call, [f"has not ended after {PATIENCE} s"]
        try:
            self.view.refresh()
            now = self.view.look()
        except (AssertionError, OSError, KeyError) as error:
            return call, [f"{deed.error}", f"then: {error}"]
        found = self.judge.left(now, operation.volume)
        found += self.compare(operation, new, deed, now, witness)
        witness.close()
        return call, [f"told: {deed.error or 'success'}", *found] if found else []

    def compare(self, operation, new, deed, now, witness):
        """Whether each volume is what it was, or what it was to be."""
        found = self.judge.others(now, operation.volume)
        if operation.volume is None:
            return found
        old, is_now = self.judge.old.get(operation.volume), now.get(operation.volume)
        known = self.judge.old.values()
        if deed.error is None:
            if not fits(new, is_now, known):
                found.append(f"{operation.volume} was to be {new}, is {is_now}")
        elif is_now != old and not (operation.name in ERASING and fits(new, is_now, known)):
            found.append(f"{operation.volume} was {old}, is {is_now}")
        if operation.name in ERASING and witness.lost():
            found.append("what the volume held is on the disk, unwiped and without a name")
        return found


def pytest_generate_tests(metafunc):
    """Which operations a test is about."""
    if "operation" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("thorough")
        if metafunc.function is test_calls_fail:
            chosen = OPERATIONS
        elif metafunc.function is test_killed:
            chosen = [operation for operation in OPERATIONS if operation.name not in faults.HARMLESS]
        else:
            chosen = [operation for operation in OPERATIONS
                      if operation.volume and (thorough or operation.name in faults.OPENED)]
        metafunc.parametrize("operation", chosen, ids=lambda operation: operation.name)


def test_calls_fail(lab, pytestconfig, operation):
    """Whichever call fails: the volume is the old one or the new one, and whole; who asked is
    told which; nothing is left over."""
    failures = Failures(lab, pytestconfig)
    wrong = failures.run(operation)
    print(f"{operation.name}: {failures.steps} steps")
    report(wrong, f"failures-{operation.name}", pytestconfig)


class Kills:
    """Kills the daemon before a call that an operation makes."""

    def __init__(self, lab, config):
        self.lab = lab
        self.kinds = tuple(KINDS) if config.getoption("thorough") else LASTING
        self.view = View(lab.host, lab.secrets, lab.folder, "storage:///system")
        self.judge = Judge(lab, self.view)

    def run(self, operation):
        """All calls of an operation, one after the other; returns what was wrong, in words, and
        how many calls there were."""
        new = self.judge.learn(operation)
        wrong = []
        number = 0
        while True:
            number += 1
            call, found = self.step(operation, new, number)
            if call is None:
                return wrong, number - 1
            if found:
                wrong.append("\n".join([f"{operation.name}, killed before call {number}, {call}",
                                        *(f"    {line}" for line in found)]))

    def step(self, operation, new, number):
        """An operation during which the daemon is killed; returns the call before which that was,
        None if there are not so many, and what was wrong."""
        self.judge.set_up(operation)
        witness = Witness(self.lab.folder / operation.volume)
        preload = self.lab.preload
        preload.arm(self.kinds, stop=number)
        deed = Deed(lambda: operation.function(self.lab, self.view.client))
        if not preload.is_reached(deed):
            preload.disarm()
            return None, []
        call = preload.call(number)
        preload.kill()
        assert deed.ended(PATIENCE)
        try:
            self.view.connect()
            self.view.refresh()
            now = self.view.look()
        except (AssertionError, OSError, KeyError) as error:
            return call, [f"then: {error}"]
        found = self.judge.left(now, operation.volume)
        found += self.compare(operation, new, now)
        if operation.name in ERASING and witness.lost():
            found.append("what the volume held is on the disk, unwiped and without a name")
        witness.close()
        return call, found

    def compare(self, operation, new, now):
        """Whether each volume is what it was, or what it was to be."""
        old = self.judge.old
        found = self.judge.others(now, operation.volume)
        was, is_now = old.get(operation.volume), now.get(operation.volume)
        if is_now != was and not fits(new, is_now, old.values()):
            found.append(f"{operation.volume} was {was}, was to be {new}, is {is_now}")
        return found


def test_killed(lab, pytestconfig, operation):
    """Before whichever call the daemon is killed: when it runs again the volume is the old one or
    the new one, and whole; nothing is left over."""
    wrong, calls = Kills(lab, pytestconfig).run(operation)
    print(f"{operation.name}: killed before each of {calls} calls")
    assert calls > 1
    report(wrong, f"kills-{operation.name}", pytestconfig)


class Windows:
    """Stops an operation before each of its calls while another host does something."""

    def __init__(self, lab, other, config):
        self.lab = lab
        self.thorough = config.getoption("thorough")
        self.kinds = tuple(KINDS) if self.thorough else NAMING
        self.here = View(lab.host, lab.secrets, lab.folder, "storage:///system")
        self.there = View(other, lab.secrets, lab.folder, other.storage_uri)
        self.judge = Judge(lab, self.here)
        self.steps = 0

    def actors(self, operation):
        """What the other host is to do."""
        if self.thorough:
            return ACTORS
        return MAKING if self.judge.old.get(operation.volume) is None else CHANGING

    def set_up(self, operation):
        """Before an operation."""
        self.judge.set_up(operation)
        self.there.refresh()

    def act(self, operation, actor):
        """What the other host does."""
        # It may know of a volume that has come since, or is gone.
        self.there.refresh()
        ACTORS[actor].do(self.lab, self.there, operation.volume)

    def alone(self, operation, actor, *who):
        """What comes of the operation and of what the other does, one after the other: whether
        each has ended well, and the volume."""
        states = []
        for _ in range(2):
            self.set_up(operation)
            ends = {}
            for function in who:
                ends[function] = Deed(function)
                assert ends[function].ended(PATIENCE)
            if self.both[1] in who:
                ACTORS[actor].undo(self.lab, self.there.host, operation.volume)
            self.here.refresh()
            states.append(self.here.look().get(operation.volume))
        return tuple(function in ends and ends[function].done for function in self.both), \
            same_or_fresh(states)

    def learn(self, operation, actor):
        """What may come of both: (whether each has ended well) to states of the volume."""
        self.both = (lambda: operation.function(self.lab, self.here.client),
                     lambda: self.act(operation, actor))
        one, other = self.both
        may = collections.defaultdict(list)
        may[False, False].append(self.judge.old.get(operation.volume))
        for who in (one,), (other,), (one, other), (other, one):
            ends, state = self.alone(operation, actor, *who)
            may[ends].append(state)
        return may

    def run(self, operation, actor):
        """All windows of an operation, one after the other; returns what was wrong, in words."""
        may = self.learn(operation, actor)
        wrong = []
        number = 0
        while True:
            number += 1
            call, found = self.step(operation, actor, may, number)
            if call is None:
                return wrong
            if found:
                stack = self.lab.preload.stack(call)
                wrong.append("\n".join([f"{operation.name} and {actor}, before call {number}, {call}",
                                        *(f"        {line}" for line in stack),
                                        *(f"    {line}" for line in found)]))

    def step(self, operation, actor, may, number):
        """Both at once; returns the call before which the other did it, None if there are not so
        many calls, and what was wrong."""
        self.steps += 1
        self.set_up(operation)
        preload = self.lab.preload
        preload.arm(self.kinds, stop=number)
        one = Deed(self.both[0])
        if not preload.is_reached(one):
            preload.disarm()
            assert one.ended(PATIENCE)
            return None, []
        other = Deed(self.both[1])
        # It may have to wait for the one that is stopped.
        waits = not other.ended(5)
        preload.control.go = 1
        ended = one.ended(PATIENCE) and other.ended(PATIENCE)
        call = preload.disarm()[number - 1]
        told = [f"told: {one.error or 'success'}; other: {other.error or 'success'}"
                f"{', which had to wait' if waits else ''}"]
        if not ended:
            return call, told + [f"has not ended after {PATIENCE} s"]
        try:
            found = ACTORS[actor].undo(self.lab, self.there.host, operation.volume)
            self.here.refresh()
            self.there.refresh()
            now = self.here.look()
            found += self.compare(operation, may, one, other, now)
        except (AssertionError, OSError, KeyError) as error:
            return call, told + [f"then: {error}"]
        found += self.judge.left(now, operation.volume)
        return call, told + found if found else []

    def compare(self, operation, may, one, other, now):
        """Whether it is as if one had been done after the other."""
        found = self.judge.others(now, operation.volume)
        there = self.there.look()
        if there != now:
            found.append(f"the other host sees {there}")
        if operation.volume is None:
            return found
        is_now = now.get(operation.volume)
        states = list(may.get((one.done, other.done), []))
        if one.error and one.error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            # It was done, and then undone by the other before it was looked at.
            states += may.get((True, other.done), [])
        if not any(fits(state, is_now, self.judge.old.values()) for state in states):
            found.append(f"{operation.volume} may be {' or '.join(map(str, states)) or 'no such end'}, is {is_now}")
        return found


@pytest.fixture(scope="module")
def neighbour(lab):
    """Another host whose pool has the same directory."""
    with OtherHost(f"{lab.host.name}-other") as other:
        storm.share(lab.secrets, lab.folder, other)
        yield other


def test_windows(lab, neighbour, pytestconfig, operation):
    """Whatever another host does to the volume, before whichever call: it is as if one had been
    done after the other, or one was refused; nothing is left over."""
    windows = Windows(lab, neighbour, pytestconfig)
    wrong = []
    for actor in windows.actors(operation):
        wrong += windows.run(operation, actor)
        print(f"{operation.name} and {actor}: {windows.steps} steps so far")
    report(wrong, f"windows-{operation.name}", pytestconfig)


# What a sweep does to a file that it finds.
SWEEPING = ("lock", "write", "rename", "link", "unlink")
# What gives a file its name.
PUBLISHING = ("rename", "link")


def test_sweep_windows(lab, neighbour, pytestconfig):
    """A host refreshes its pool while another is about to give a file its name, which it then does
    before whichever call of the first: that file is not touched."""
    windows = Windows(lab, neighbour, pytestconfig)
    wrong = []
    with Preload(neighbour, [lab.folder]) as preload:
        windows.there.connect()
        for operation in OPERATIONS:
            if operation.name not in faults.OPENED:
                continue
            new = windows.judge.learn(operation)
            there = call = 1
            while call:
                here, there = 1, there + 1
                while True:
                    call, stopped, found = sweep_step(windows, preload, operation, new, there - 1, here)
                    wrong += found
                    here += 1
                    if not call or not stopped:
                        break
    report(wrong, "windows-sweep", pytestconfig)


def sweep_step(windows, preload, operation, new, there, here):
    """An operation on the other host is stopped before a call, a sweep on this host before one of
    its own; then the operation ends, and then the sweep. Returns the first call, None if there are
    not so many; whether the sweep was stopped; and what was wrong."""
    windows.steps += 1
    windows.set_up(operation)
    preload.arm(PUBLISHING, stop=there)
    make = Deed(lambda: operation.function(windows.lab, windows.there.client))
    if not preload.is_reached(make):
        preload.disarm()
        return None, False, []
    mine = windows.lab.preload
    mine.arm(SWEEPING, stop=here)
    sweep = Deed(windows.here.client.refresh)
    stopped = mine.is_reached(sweep)
    preload.control.go = 1
    make.ended(5)
    mine.control.go = 1
    assert make.ended(PATIENCE) and sweep.ended(PATIENCE)
    call = preload.disarm()[there - 1]
    before = mine.disarm()
    try:
        windows.here.refresh()
        windows.there.refresh()
        now = windows.here.look()
        expected = new if make.done else windows.judge.old.get(operation.volume)
        found = windows.judge.left(now, operation.volume)
        if not fits(expected, now.get(operation.volume), windows.judge.old.values()):
            found.append(f"{operation.volume} was to be {expected}, is {now.get(operation.volume)}")
    except (AssertionError, OSError, KeyError) as error:
        found = [f"{error}"]
    where = f"refresh, before call {here}, {before[here - 1] if stopped else 'its end'}; " \
        f"{operation.name} on another host, before call {there}, {call}"
    told = f"told: {sweep.error or 'success'}; other: {make.error or 'success'}"
    return call, stopped, ["\n    ".join([where, told, *found])] if found else []


def test_start_windows(lab, neighbour, pytestconfig):
    """Whatever another host does to the volume of a guest that starts, before whichever call: the
    guest runs on the volume that it was looked up as, or does not start."""
    windows = Windows(lab, neighbour, pytestconfig)
    guest = lab.host.define_guest("guest", xmls.tpm_volume("c0"))
    wrong = []
    with Preload(lab.host, [lab.folder], "virtqemud") as preload:
        for actor in ("delete", "wipe", "upload", "replace"):
            number = 0
            while True:
                number += 1
                call, found = start_step(windows, preload, guest, actor, number)
                if call is None:
                    break
                if found:
                    wrong.append("\n".join([f"start and {actor}, before call {number}, {call}",
                                            *(f"        {line}" for line in preload.stack(call)),
                                            *(f"    {line}" for line in found)]))
    report(wrong, "windows-start", pytestconfig)


def start_step(windows, preload, guest, actor, number):
    """A start, and what another host does meanwhile; returns as Windows.step()."""
    lab = windows.lab
    operation = faults.Operation("start", "c0", None)
    windows.set_up(operation)
    preload.arm(windows.kinds, stop=number)
    one = Deed(lambda: faults.start_or_fail(guest))
    if not preload.is_reached(one):
        preload.disarm()
        assert one.done, one.error
        guest.host.virsh("destroy", guest.name)
        return None, []
    other = Deed(lambda: windows.act(operation, actor))
    waits = not other.ended(5)
    preload.control.go = 1
    assert one.ended(PATIENCE) and other.ended(PATIENCE)
    call = preload.disarm()[number - 1]
    found = []
    windows.here.refresh()
    now = windows.here.look().get("c0")
    if one.done:
        if not guest.host.is_locked(lab.folder / "c0"):
            found.append("the guest runs on a file that is not the volume")
        running = guest.host.domain_tpm(guest.name).find("backend/source").get("uuid")
        if now is None or running != now.identity:
            found.append(f"the guest's TPM is said to be {running}, the volume is {now}")
        guest.host.virsh("destroy", guest.name)
    if (now == windows.judge.old["c0"]) == other.done:
        found.append(f"the volume was {windows.judge.old['c0']}, is {now}")
    told = f"told: {one.error or 'success'}; other: {other.error or 'success'}{', which had to wait' if waits else ''}"
    return call, [told, *found] if found else []
