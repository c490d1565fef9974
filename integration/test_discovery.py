"""What a client can ask before it puts a TPM on a volume."""

import xml.etree.ElementTree as etree


def sources(host):
    """Where the state of an emulated TPM can be, by the domain capabilities."""
    text = host.virsh("domcapabilities")
    host.validate(text, "domaincaps")
    return [value.text for value in
            etree.fromstring(text).findall("devices/tpm/enum[@name='backendSourceType']/value")]


def test_sources(host):
    assert sources(host) == ["file", "dir", "volume"]


def test_older_swtpm(host, tmp_path):
    """It has no files, only directories. A daemon that runs notices when swtpm is replaced."""
    older = tmp_path / "swtpm"
    older.write_text("#!/bin/sh\necho '{ \"type\": \"swtpm\", \"features\": [ \"cmdarg-pwd-fd\" ] }'\n")
    older.chmod(0o755)
    assert "volume" in sources(host)
    assert host.run("mount", "-n", "--bind", older, "/usr/bin/swtpm").returncode == 0
    try:
        assert sources(host) == ["dir"]
    finally:
        host.run("umount", "-n", "/usr/bin/swtpm")
    assert "volume" in sources(host)
