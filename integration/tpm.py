"""TPM commands as a guest sends them, for swtpm on a file of state, without a guest.

A test makes changes to a TPM by these, and looks for them after an operation.
"""

import socket
import struct
import subprocess

OWNER, LOCKOUT, ENDORSEMENT, PLATFORM = 0x40000001, 0x4000000a, 0x4000000b, 0x4000000c
# Where a TPM usually has its endorsement keys, by their kind.
RSA_EK, ECC_EK = 0x81010001, 0x81010016
AUTH_FAIL, LOCKED = 0x98e, 0x921
# A TPM writes down that something with a password is used before it looks at it.
RETRY = bytes.fromhex("00000922")

# A key for encryption on P-384, as an endorsement key has it.
TEMPLATE = bytes.fromhex(
    "0023000c000300f20030b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47"
    "ba09699646150f9fc000f3f80e12000601000043001000040010" "0000" "0000")


class Tpm:
    """A TPM 2.0 on a file that nobody else uses, started up. A context manager."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        control, theirs = socket.socketpair()
        self.data, data = socket.socketpair()
        self.swtpm = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--terminate", "--fd", str(data.fileno()),
             "--ctrl", f"type=unixio,clientfd={theirs.fileno()}",
             "--tpmstate", f"backend-uri=file://{self.path}"],
            pass_fds=(data.fileno(), theirs.fileno()), stderr=subprocess.DEVNULL)
        self.control = control
        theirs.close()
        data.close()
        control.sendall(struct.pack(">LL", 2, 0))
        assert control.recv(4) == bytes(4)
        self.send(0x144, struct.pack(">H", 0))
        return self

    def __exit__(self, *_):
        self.data.close()
        self.control.close()
        self.swtpm.wait(timeout=10)

    def send(self, code, body, tag=0x8001, expect=(0,)):
        """Send a command; returns the response behind its header."""
        response = b""
        while response[6:10] in (b"", RETRY):
            self.data.sendall(struct.pack(">HLL", tag, 10 + len(body), code) + body)
            response = self.data.recv(4096)
        assert struct.unpack(">L", response[6:10])[0] in expect, response.hex()
        return response[10:]

    def authorized(self, code, handles, body=b"", password=b"", **how):
        """Send a command that needs one authorization."""
        auth = struct.pack(">LHBH", 0x40000009, 0, 0, len(password)) + password
        return self.send(code, b"".join(struct.pack(">L", handle) for handle in handles)
                         + struct.pack(">L", len(auth)) + auth + body, tag=0x8002, **how)

    def set_password(self, hierarchy, password):
        self.authorized(0x129, [hierarchy], struct.pack(">H", len(password)) + password)

    def clear(self):
        self.authorized(0x126, [LOCKOUT])

    def forbid_clear(self):
        self.authorized(0x127, [LOCKOUT], b"\1")

    def change_endorsement_seed(self):
        self.authorized(0x124, [PLATFORM])

    def remove(self, handle):
        """Remove a key that is kept."""
        self.authorized(0x120, [OWNER, handle], struct.pack(">L", handle))

    def keep_key(self, handle):
        """Make a key of the owner's, and keep it."""
        made = self.authorized(0x131, [OWNER], struct.pack(">HHHH", 4, 0, 0, len(TEMPLATE)) + TEMPLATE
                               + struct.pack(">HL", 0, 0))
        transient = struct.unpack(">L", made[:4])[0]
        self.authorized(0x120, [OWNER, transient], struct.pack(">L", handle))

    def guess_passwords(self, number, index=0x01800001):
        """Try wrong passwords for something."""
        public = struct.pack(">LHLHH", index, 0x0b, 0x00040004, 0, 8)
        self.authorized(0x12a, [OWNER], b"\0\1a" + struct.pack(">H", len(public)) + public)
        for _ in range(number):
            self.authorized(0x14e, [index, index], struct.pack(">HH", 1, 0),
                            password=b"b", expect=(AUTH_FAIL, LOCKED))
