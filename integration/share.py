"""Distributes the tests among several pytests, each in a sandbox of its own, for scripts/check integration.

All of them collect the same tests. The folder that they share contains the list of these, and for
each test, by its number in the list, NUMBER.claim and NUMBER.result. Only one pytest can create the
claim, and runs the test; the result is written once. WORKER.done is written by a pytest that has
found no more tests to run."""

import itertools
import json
import os
from pathlib import Path

import pytest

ALONE = "alone"
TOGETHER = "together"


def pytest_addoption(parser):
    """What scripts/check integration tells."""
    group = parser.getgroup("share", "for scripts/check integration")
    group.addoption("--share", help="a folder in which several pytests share the tests")
    group.addoption("--worker", help="which of them this is")
    group.addoption("--alone", action="store_true", help="those tests that run alone")


def pytest_configure(config):
    """Put our loop in place of pytest's."""
    config.addinivalue_line("markers", f"{ALONE}: runs when no other test does, because it measures time")
    config.addinivalue_line("markers", f"{TOGETHER}: the tests of this file share what is slow to make, "
                                       "and run in one sandbox")
    if config.getoption("share"):
        config.pluginmanager.register(Share(*map(config.getoption, ("share", "worker", "alone"))))


class Share:
    """A plugin of pytest: runs what nobody else has claimed."""

    def __init__(self, folder, worker, alone):
        self.folder = Path(folder)
        self.worker = worker
        # Whether to run the tests that run alone, or those that do not.
        self.alone = alone
        self.reports = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        """Instead of pytest's own loop; that one knows what to do when the collection failed."""
        if session.testsfailed:
            return None
        self.agree([[item.nodeid, is_alone(item)] for item in session.items])
        for unit in units(session.items):
            if is_alone(unit[0][1]) == self.alone and self.claim(unit[0][0]):
                self.run(session, unit)
        write_new(self.folder / f"{self.worker}.done", "")
        return True

    def agree(self, tests):
        """Make the list, or see that it is the one that others have made."""
        text = json.dumps(tests)
        mine = self.folder / f"tests.{self.worker}"
        mine.write_text(text, encoding="utf-8")
        try:
            os.link(mine, self.folder / "tests")
        except FileExistsError:
            if (self.folder / "tests").read_text(encoding="utf-8") != text:
                pytest.exit("this sandbox has collected other tests than the others", returncode=3)

    def claim(self, number):
        """Whether a test is ours to run."""
        try:
            write_new(self.folder / f"{number}.claim", self.worker)
        except FileExistsError:
            return False
        return True

    def run(self, session, unit):
        """Run one test, or those that belong together."""
        following = [item for _, item in unit[1:]] + [None]
        for (number, item), after in zip(unit, following):
            if item is not unit[0][1] and not self.claim(number):
                raise RuntimeError(f"somebody else runs {item.nodeid}")
            self.reports = []
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            write_new(self.folder / f"{number}.result", json.dumps(result(self.reports)))

    def pytest_runtest_logreport(self, report):
        """pytest tells of a test's setup, call and teardown."""
        self.reports.append(report)


def is_alone(item):
    """Whether a test wants the machine for itself."""
    return item.get_closest_marker(ALONE) is not None


def units(items):
    """What is claimed as a whole: lists of tests, each with its number."""
    def unit(numbered):
        number, item = numbered
        return item.module.__name__ if item.get_closest_marker(TOGETHER) else number
    return [list(some) for _, some in itertools.groupby(enumerate(items), unit)]


def write_new(path, text):
    """Write a file that must not be there, whole when it is."""
    temporary = path.with_suffix(f".{os.getpid()}-{path.suffix[1:]}")
    temporary.write_text(text, encoding="utf-8")
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()


def result(reports):
    """What is kept of a test: outcome, seconds, and the text of a failure or of a skip."""
    seconds = sum(report.duration for report in reports)
    failed = [report for report in reports if report.failed]
    skipped = [report for report in reports if report.skipped]
    if failed:
        texts = [text for report in failed for text in (report.longreprtext, *captured(report))]
        return {"outcome": "failed", "seconds": seconds, "text": "\n".join(texts)}
    if skipped:
        reason = skipped[0].longrepr[-1] if isinstance(skipped[0].longrepr, tuple) else "expected to fail"
        return {"outcome": "skipped", "seconds": seconds, "text": reason.removeprefix("Skipped: ")}
    if not any(report.when == "call" for report in reports):
        return {"outcome": "failed", "seconds": seconds, "text": "nothing was run"}
    return {"outcome": "passed", "seconds": seconds, "text": ""}


def captured(report):
    """What a test has printed."""
    return [f"-- {title} --\n{text}" for title, text in report.sections]
