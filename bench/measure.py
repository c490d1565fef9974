"""Measures two sides by turns and compares them."""

import time
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Samples:
    """The figures of both sides, in the order in which they were taken."""

    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)

    @property
    def ratio(self):
        return median(self.ours) / median(self.theirs)


def seconds(action, *args):
    """How long a call takes."""
    start = time.perf_counter()
    action(*args)
    return time.perf_counter() - start


def alternate(ours, theirs, times, warm_up=True):
    """Take a figure of each side, so many times, one after the other. Who comes first
    changes each time, so that neither side profits from what the other leaves behind.
    The figures of the warm-up do not count."""
    samples = Samples()
    sides = [(samples.ours, ours), (samples.theirs, theirs)]
    if warm_up:
        for _, side in sides:
            side()
    for _ in range(times):
        for figures, side in sides:
            figures.append(side())
        sides.reverse()
    return samples
