"""scripts/tree and scripts/export lose no work, and fail if they would have to; scripts/series remembers
what has passed."""

import hashlib
import os
import shutil
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

    def tool(self, name, *arguments, **environment):
        done = self.run(name, *arguments, **environment)
        assert done.returncode == 0, done.stderr

    def tool_fails(self, name, *arguments, **environment):
        done = self.run(name, *arguments, **environment)
        assert done.returncode != 0
        return done.stderr

    def run(self, name, *arguments, **environment):
        return subprocess.run([self.path / "scripts" / name, *arguments], capture_output=True, text=True, check=False,
                              env={**os.environ, **environment})

    def drop_last_patch(self):
        series = self.path / "patches/libvirt/series"
        series.write_text("".join(series.read_text().splitlines(True)[:-1]))


# One clone for all of them.
pytestmark = pytest.mark.together


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
    patches = (checkout.path / "patches/libvirt/series").read_text().count("\n")
    assert checkout.git(["rev-list", "--count", "upstream..tpm"]).strip() == str(patches)


def test_patch_that_needs_fuzz(checkout):
    patch = checkout.path / "patches/libvirt/conf-add-the-encryption-format-vtpm.patch"
    text = patch.read_text()
    assert " VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY,\n" in text
    patch.write_text(text.replace(" VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_ANY,\n",
                                  " VIR_STORAGE_ENCRYPTION_FORMAT_LUKS_SOME,\n"))
    assert "a patch does not apply" in checkout.tool_fails("tree")
    assert "a patch is being applied" in checkout.tool_fails("tree")


def test_patch_that_is_missing(checkout):
    with open(checkout.path / "patches/libvirt/series", "a", encoding="utf-8") as series:
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


def pin_release(checkout, folder, files):
    """Pin a release of another number, which has these files and else what the pinned one has;
    folder becomes the cache folder that it is in."""
    release = folder / "libvirt-11.3.1"
    checkout.git(["worktree", "add", "-q", "--detach", release, "upstream"])
    (release / ".git").unlink()
    checkout.git(["worktree", "prune"])
    for name, text in files.items():
        (release / name).write_text(text)
    cache = folder / "libvirt-tpm-pool"
    cache.mkdir()
    tarball = cache / "libvirt-11.3.1.tar.xz"
    # tar knows what it unpacks by its content.
    subprocess.run(["tar", "-cf", tarball, "-C", folder, release.name], check=True)
    wrap = checkout.path / "subprojects/libvirt.wrap"
    text = wrap.read_text()
    old = [line.partition("= ")[2] for line in text.splitlines() if line.startswith("source_hash")][0]
    wrap.write_text(text.replace("libvirt-11.3.0", "libvirt-11.3.1")
                    .replace(old, hashlib.sha256(tarball.read_bytes()).hexdigest()))


def test_files_stay_when_the_pin_changes(checkout, tmp_path):
    """Those that git does not know; no file of the release takes the place of one."""
    mine = [checkout.tree / name for name in ("notes.txt", "src/util/virdraft.c", "tests/draft.orig",
                                              "docs/draft/page.rst")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine\n")
    before = checkout.git(["rev-parse", "upstream", "tpm"])
    pin_release(checkout, tmp_path, {"AUTHORS.rst": "news\n", "src/util/virdraft.c": "theirs\n"})
    said = checkout.tool_fails("tree", XDG_CACHE_HOME=str(tmp_path))
    assert "src/util/virdraft.c" in said and "move these files elsewhere" in said
    assert [path.read_text() for path in mine] == ["mine\n"] * 4
    assert checkout.git(["rev-parse", "upstream", "tpm"]) == before

    mine.pop(1).rename(checkout.tree / "src/util/virdraft2.c")
    checkout.tool("tree", XDG_CACHE_HOME=str(tmp_path))
    assert (checkout.tree / "AUTHORS.rst").read_text() == "news\n"
    assert (checkout.tree / "src/util/virdraft.c").read_text() == "theirs\n"
    assert [path.read_text() for path in mine] == ["mine\n"] * 3
    assert checkout.git(["log", "-1", "--format=%s", "upstream"]) == "libvirt 11.3.1\n"
    assert checkout.git(["status", "--porcelain", "--untracked-files=no"]) == ""
    patches = (checkout.path / "patches/libvirt/series").read_text().count("\n")
    assert checkout.git(["rev-list", "--count", "upstream..tpm"]).strip() == str(patches)
    for path in (*mine, checkout.tree / "src/util/virdraft2.c"):
        path.unlink()


def test_file_in_place_of_a_link_stays(checkout):
    """Some editors replace a link by a file."""
    ours = checkout.path / "src/util/virtpmextra.h"
    ours.write_text("/* new */\n")
    checkout.tool("tree")
    link = checkout.tree / "src/util/virtpmextra.h"
    link.unlink()
    link.write_text("/* edited */\n")
    ours.unlink()
    checkout.tool("tree")
    assert link.read_text() == "/* edited */\n"
    link.unlink()


def test_series_remembers_what_has_passed(checkout, tmp_path):
    """A patch is tested again when the source after it has changed, or when that is asked for."""
    ours = [checkout.path / name for name in ("src", "docs", "tests", "tools")]
    for folder in ours:
        shutil.rmtree(folder)
    series = checkout.path / "patches/libvirt/series"
    one, two, three = series.read_text().splitlines(True)[:3]
    ran, mended = tmp_path / "ran", tmp_path / "mended"
    # Fails after the second patch until that is mended.
    command = f"echo x >> {ran}; test $(git rev-list --count origin/upstream..HEAD) = 1 || test -e {mended}"

    def tested(*patches, options=(), run=checkout.tool):
        """How many patches are tested, of a series of these."""
        series.write_text("".join(patches))
        ran.write_text("")
        run("series", "--test", "--with", command, *options, XDG_CACHE_HOME=str(tmp_path))
        return ran.read_text().count("x")

    assert tested(one, two, run=checkout.tool_fails) == 2
    mended.touch()
    # The one that has failed, and a new one.
    assert tested(one, two, three) == 2
    assert tested(one, two, three, options=["--all", "--from", "2", "--to", "2"]) == 1
