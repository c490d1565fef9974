"""scripts/check integration counts every test once, even if the sandbox that runs it dies.

It is run on small tests that pass, fail, hang, and kill their pytest or sandbox.
"""

import os
import shutil
import subprocess
import xml.etree.ElementTree as etree
from pathlib import Path

import pytest

from host import TOP

TESTS = """
import os
import time

import pytest


@pytest.fixture
def broken_end():
    yield
    raise RuntimeError("broken end")


def test_kills_its_pytest():
    os.kill(os.getpid(), 9)


def test_kills_its_sandbox():
    os.kill(1, 15)
    time.sleep(600)


def test_hangs():
    time.sleep(600)


@pytest.mark.parametrize("number", range(6))
def test_passes(number):
    time.sleep(0.3)
    with open(f"{os.environ['SHARE_TEST']}/beside", "a") as file:
        file.write(f"{time.monotonic()} ")


def test_fails():
    print("what it printed")
    assert 1 == 2


def test_ends_badly(broken_end):
    pass


def test_is_skipped():
    pytest.skip("for a reason")


@pytest.mark.alone
@pytest.mark.parametrize("number", range(2))
def test_alone(number):
    with open(f"{os.environ['SHARE_TEST']}/alone", "a") as file:
        file.write(f"{time.monotonic()} ")
"""

TOGETHER = """
import os

import pytest

pytestmark = pytest.mark.together


@pytest.fixture(scope="module")
def made():
    with open(f"{os.environ['SHARE_TEST']}/made", "a") as file:
        file.write("x")


@pytest.mark.parametrize("number", range(4))
def test_together(made, number):
    pass
"""

LOST = "its sandbox ended meanwhile"


@pytest.fixture
def folder(host):
    """A folder that all sandboxes see."""
    path = Path(f"/dev/shm/libvirt-sandbox.{host.name}/share")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def run(folder, *arguments, tests):
    """Run scripts/check integration on the text of some test files; returns exit code, output and, by test,
    what the report says: None, or what went wrong."""
    for name, text in tests.items():
        (folder / f"test_{name}.py").write_text(text)
    done = subprocess.run([TOP / "scripts/check", "integration", "--junit-xml", folder / "report.xml",
                           *arguments, folder],
                          env={**os.environ, "SHARE_TEST": str(folder)},
                          capture_output=True, text=True, check=False, timeout=280)
    report = folder / "report.xml"
    cases = etree.parse(report).getroot().findall("testcase") if report.exists() else []
    names = [case.get("name") for case in cases]
    assert len(names) == len(set(names)), names
    return done.returncode, done.stdout + done.stderr, {
        case.get("name"): f"{case[0].tag}: {case[0].text}" if len(case) else None for case in cases}


def test_every_test_is_counted_once(folder):
    code, output, said = run(folder, "--jobs", "2", "--limit", "20", tests={"some": TESTS, "whole": TOGETHER})
    assert code == 1
    passed = {*(f"test_passes[{n}]" for n in range(6)), *(f"test_alone[{n}]" for n in range(2)),
              *(f"test_together[{n}]" for n in range(4))}
    lost = {"test_kills_its_pytest", "test_kills_its_sandbox", "test_hangs"}
    assert said.keys() == passed | lost | {"test_fails", "test_ends_badly", "test_is_skipped"}, output
    assert {name for name, what in said.items() if what is None} == passed, output
    for name in lost:
        assert said[name].startswith(f"failure: {LOST}"), output
    assert "assert 1 == 2" in said["test_fails"] and "what it printed" in said["test_fails"]
    assert "broken end" in said["test_ends_badly"]
    assert said["test_is_skipped"] == "skipped: for a reason"
    assert output.splitlines()[-1] == "12 passed, 5 failed, 1 skipped"
    # Those that belong together had one fixture, and the last to run were those that run alone.
    assert (folder / "made").read_text() == "x"
    beside, alone = ([float(time) for time in (folder / name).read_text().split()]
                     for name in ("beside", "alone"))
    assert max(beside) < min(alone)


def test_all_is_well(folder):
    code, output, said = run(folder, "--jobs", "2", tests={"whole": TOGETHER})
    assert code == 0, output
    assert list(said.values()) == [None] * 4


def test_nothing_to_run(folder):
    """No test, or none that can be collected, is no success."""
    code, output, said = run(folder, "--jobs", "1", "-k", "nothing", tests={"whole": TOGETHER})
    assert code == 1 and not said and "no tests were collected" in output
    code, output, said = run(folder, "--jobs", "1", tests={"broken": "import nothing_of_that_name"})
    assert code == 1 and "nothing_of_that_name" in output
    assert list(said) in ([], ["sandbox-1 ended with 2"]), said


def test_different_tests(folder):
    """A sandbox that collects other tests than the rest takes part in nothing."""
    tests = "import os\nimport pytest\n@pytest.mark.parametrize('name', [os.getpid()])\ndef test_odd(name): pass\n"
    tests = tests.replace("os.getpid()", "os.environ['LIBVIRT_SANDBOX']")
    code, output, _ = run(folder, "--jobs", "2", tests={"odd": tests})
    assert code == 1 and "has collected other tests than the others" in output
