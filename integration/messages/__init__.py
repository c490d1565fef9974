"""The error texts that a user sees: each stands here once, and tests take it from here.

A row is named for the cause, and has libvirt's error code, the text and the remedy as they stand in
the source. messages.NOT_FOUND("one", "tpm") is what can be looked for in a command's output."""

# flake8: noqa: F401, F403

from expected import Message

from messages.conf import *
from messages.libvirt_own import *
from messages.qemu import *
from messages.storage import *
from messages.tool import *
from messages.util import *

# All of them.
ALL = [row for row in list(globals().values()) if isinstance(row, Message)]
