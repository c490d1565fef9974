"""The commands in the documentation work as they are written there.

Examples are taken from the README and the pages on XML, backups and migration, and are run.
"""

import html
import re
import textwrap
from pathlib import Path

import messages
import xmls
from host import POOL, TOP


def run_script(host, tmp_path, script):
    done = host.run("bash", "-euo", "pipefail", "-c", f"cd {tmp_path}\n{script}")
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_readme_tour(host, tmp_path):
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    tour = re.search(r"## A tour by hand\n.*?```\n(.*?)```", readme, re.S).group(1)
    printed = run_script(host, tmp_path, tour)
    assert "<tpm version='2.0'>" in printed
    assert "guest1.tpm.xml" in printed


def sections(page):
    """The examples of the documentation's page, each under its section's id."""
    text = (TOP / "docs" / page).read_text(encoding="utf-8")
    parts = re.split(r'<h[23]><a id="([a-z-]+)">', text)
    return {parts[i]: [html.unescape(pre) for pre in re.findall(r"<pre>\n(.*?)</pre>", parts[i + 1], re.S)]
            for i in range(1, len(parts), 2)}


def rst_sections(page):
    """The same of a page in reStructuredText, each under its section's title."""
    text = (TOP / "docs" / page).read_text(encoding="utf-8")
    parts = re.split(r"^(\S.*)\n=+\n", text, flags=re.M)
    return {title: [textwrap.dedent(block).strip("\n") + "\n"
                    for block in re.findall(r"^::\n\n((?:   .*\n|\n)+)", body, re.M)]
            for title, body in zip(parts[1::2], parts[2::2])}


def as_script(example):
    """A terminal's text as a script: what 'cat FILE' prints is what FILE holds."""
    script = []
    for block in re.split(r"^\$ ", example, flags=re.M)[1:]:
        command, _, printed = block.partition("\n")
        if command.startswith("cat "):
            command = f"{command.replace('cat ', 'cat > ')} <<'END'\n{printed}END"
        script.append(command)
    return "\n".join(script)


def test_page_example(host, tmp_path):
    *commands, domain = sections("formatstorage-tpm.html.in")["example"]
    (tmp_path / "key.base64").write_text("c2VjcmV0")
    script = "\n".join(as_script(example) for example in commands)
    script = script.replace("virsh secret-define secret.xml",
                            "UUID=$(virsh secret-define secret.xml | grep -o '[0-9a-f-]\\{36\\}')")
    printed = run_script(host, tmp_path, script)
    assert "<encryption format='vtpm'>" in printed
    guest = host.define_guest(tpm=domain)
    guest.start()
    assert guest.state() == "running"


def test_page_copy(host, tmp_path):
    host.define_pool()
    host.define_secret("open sesame", "other-key")
    host.create_volume("guest1")
    copy, = sections("formatstorage-tpm.html.in")["copy"]
    run_script(host, tmp_path, as_script(copy))
    host.opens_in_swtpm(f"{POOL}/guest1-rekeyed", "open sesame")


def test_page_secret(host, tmp_path):
    """A secret is lost, and another one has its value."""
    host.define_pool()
    lost = host.define_secret("secret", "tpm-key")
    host.create_volume("guest1", encryption="vtpm", secret=lost)
    guest = host.define_guest(tpm=xmls.tpm_volume("guest1"))
    host.virsh("secret-undefine", lost)
    host.define_secret("secret", "tpm-key")
    assert messages.SECRET_NOT_DEFINED(f"uuid='{lost}'", "guest1", "tpm") in host.virsh_fails("start", "guest")
    (tmp_path / "key.base64").write_text("c2VjcmV0")
    example, = sections("formatstorage-tpm.html.in")["secret"]
    shown = re.search(r"<uuid>(.*)</uuid>", example).group(1)
    run_script(host, tmp_path, as_script(example).replace(shown, lost))
    guest.start()
    assert guest.state() == "running"


def test_backup_page(host, tmp_path):
    """What is backed up as the page says is restored as it says, on a host that has lost it."""
    page = rst_sections("kbase/tpm-backup.rst")
    host.define_pool()
    secret = host.define_secret("secret", "tpm-key")
    host.create_volume("guest1", encryption="vtpm", secret=secret)
    before = host.identity("guest1"), host.endorsements("guest1")
    (tmp_path / "key.base64").write_text("c2VjcmV0")

    uuid = f"UUID={secret}\n"
    run_script(host, tmp_path, uuid + "\n".join(as_script(example) for example in page["Backup"]))
    host.virsh("vol-delete", "guest1", "--pool", "tpm")
    host.virsh("secret-undefine", secret)

    printed = run_script(host, tmp_path, uuid + "\n".join(as_script(example) for example in page["Restore"]))
    assert "guest1: ok" in printed
    assert (host.identity("guest1"), host.endorsements("guest1")) == before


def test_page_xml(host):
    """The XML of the sections is accepted as it stands."""
    host.define_pool()
    page = sections("formatstorage-tpm.html.in")
    volume, = page["volume"]
    secret = re.search("uuid='(.*?)'", volume).group(1)
    other = host.define_secret("open sesame", "tpm-key")
    host.virsh("vol-create", "tpm", "/dev/stdin", "--validate", input=volume.replace(secret, other))
    domain, = page["domain"]
    host.define_guest(tpm=domain).start()


def test_page_is_built_and_linked():
    docs = Path(TOP, "build/subprojects/libvirt/docs")
    page = (docs / "formatstorage-tpm.html").read_text(encoding="utf-8")
    assert "TPM storage pools" in page
    for name in ("kbase/tpm-admin.html", "kbase/tpm-backup.html", "kbase/tpm-protection.html"):
        assert name in page
        assert "TPM volume" in (docs / name).read_text(encoding="utf-8")
    for name in ("formatstorage.html", "storage.html", "formatdomain.html", "docs.html"):
        assert "formatstorage-tpm.html" in (docs / name).read_text(encoding="utf-8"), name


def test_page_migration(host, other_host, tmp_path):
    for one in (host, other_host):
        one.define_pool()
    other_host.install_guest()
    host.create_volume("guest1")
    host.define_guest("guest1", xmls.tpm_volume("guest1")).start()
    example, = sections("formatstorage-tpm.html.in")["migration"]
    shown = re.search(r"<uuid>(.*)</uuid>", example).group(1)
    script = as_script(example).replace(shown, host.identity("guest1"))
    # The sandbox has no network.
    script = script.replace("--persistent", f"--persistent --migrateuri {other_host.migrate_uri}")
    run_script(host, tmp_path, f"TARGET='{other_host.uri}'\n{script}")
    assert other_host.virsh("domstate", "guest1") == "running"
    assert "volume='guest1'" in other_host.virsh("dumpxml", "guest1", "--inactive")
