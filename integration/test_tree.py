"""tools/tree loses no work, and fails loudly where it must not go on."""

import subprocess

import pytest

from host import TOP


class Checkout:
    """A clone of this project, with a tree of its own."""

    def __init__(self, path):
        self.path = path
        self.tree = path / "subprojects/libvirt"
        self.git(["clone", "-q", TOP, path], cwd="/")
        self.tool("tree")

    def git(self, command, cwd=None):
        identity = ["-c", "user.name=x", "-c", "user.email=x", "-c", "safe.directory=*"]
        return subprocess.run(["git", *identity, *command], cwd=cwd or self.tree, check=True,
                              capture_output=True, text=True).stdout

    def tool(self, name):
        done = self.run(name)
        assert done.returncode == 0, done.stderr

    def tool_fails(self, name):
        done = self.run(name)
        assert done.returncode != 0
        return done.stderr

    def run(self, name):
        return subprocess.run([self.path / "tools" / name], capture_output=True, text=True, check=False)

    def drop_last_patch(self):
        series = self.path / "patches/series"
        series.write_text("".join(series.read_text().splitlines(True)[:-1]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("tree") / "checkout")


@pytest.fixture
def checkout(made):
    """The clone, as it was made."""
    yield made
    subprocess.run(["git", "am", "--abort"], cwd=made.tree, capture_output=True, check=False)
    made.git(["checkout", "-q", "."])
    made.git(["reset", "-q", "--hard", made.git(["config", "tpm.tip"]).strip()])
    made.git(["checkout", "-q", "."], made.path)
    made.git(["clean", "-fdq"], made.path)
    made.tool("tree")


def test_export_is_what_was_imported(checkout):
    checkout.tool("export")
    assert checkout.git(["status", "--porcelain"], checkout.path) == ""


def test_edit_is_kept(checkout):
    edited = checkout.tree / "src/util/virtpm.c"
    edited.write_text(edited.read_text() + "/* edit */\n")
    checkout.tool("tree")
    assert "not committed" in checkout.tool_fails("export")
    checkout.drop_last_patch()
    assert "edits that are not committed" in checkout.tool_fails("tree")
    assert edited.read_text().endswith("/* edit */\n")


def test_commit_is_kept(checkout):
    edited = checkout.tree / "src/util/virtpm.c"
    edited.write_text(edited.read_text() + "/* edit */\n")
    checkout.git(["commit", "-qam", "util: edit"])
    checkout.drop_last_patch()
    assert "commits that were not exported" in checkout.tool_fails("tree")
    assert checkout.git(["log", "-1", "--format=%s"]) == "util: edit\n"


def test_changed_patches_are_applied(checkout):
    checkout.drop_last_patch()
    checkout.tool("tree")
    patches = (checkout.path / "patches/series").read_text().count("\n")
    assert checkout.git(["rev-list", "--count", "upstream..tpm"]).strip() == str(patches)


def test_patch_that_needs_fuzz(checkout):
    patch = checkout.path / "patches/conf-add-the-encryption-format-vtpm.patch"
    text = patch.read_text()
    assert " VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY,\n" in text
    patch.write_text(text.replace(" VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY,\n",
                                  " VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_SOME,\n"))
    assert "a patch does not apply" in checkout.tool_fails("tree")
    assert "a patch is being applied" in checkout.tool_fails("tree")


def test_patch_that_is_missing(checkout):
    with open(checkout.path / "patches/series", "a", encoding="utf-8") as series:
        series.write("missing.patch\n")
    assert "names missing.patch, which is not there" in checkout.tool_fails("tree")


def test_wrong_checksum(checkout):
    wrap = checkout.path / "subprojects/libvirt.wrap"
    wrap.write_text(wrap.read_text().replace("source_hash = ", "source_hash = 0"))
    assert "has not the sha256 of the pin" in checkout.tool_fails("tree")


def test_path_that_libvirt_has(checkout):
    (checkout.path / "src/util/virtpm.c").write_text("\n")
    assert "src/util/virtpm.c: libvirt has this path already" in checkout.tool_fails("tree")


def test_links_follow_the_files(checkout):
    ours = checkout.path / "src/util/virtpmextra.h"
    ours.write_text("/* new */\n")
    checkout.tool("tree")
    link = checkout.tree / "src/util/virtpmextra.h"
    assert link.is_symlink() and link.read_text() == "/* new */\n"
    ours.unlink()
    checkout.tool("tree")
    assert not link.is_symlink()
