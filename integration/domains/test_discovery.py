"""What a client can ask before it puts a TPM on a volume.

Domain capabilities tell whether this libvirt and this swtpm can do it.
"""

import xml.etree.ElementTree as etree


def sources(host):
    """Where the state of an emulated TPM can be, by the domain capabilities."""
    text = host.virsh("domcapabilities")
    host.validate(text, "domaincaps")
    return [value.text for value in
            etree.fromstring(text).findall("devices/tpm/enum[@name='backendSourceType']/value")]


def test_sources(host):
    assert sources(host) == ["file", "dir", "volume"]


def test_older_swtpm(host):
    """It has no files, only directories. A daemon that runs notices when swtpm is replaced."""
    assert "volume" in sources(host)
    with host.older_swtpm("cmdarg-pwd-fd"):
        assert sources(host) == ["dir"]
    assert "volume" in sources(host)
