"""What a command is expected to say: messages with names in them, to be looked for in its output.

Errors of libvirt are compared with their code, and with an errno where there is one.
"""

import dataclasses
import functools
import os
import re

# A name that is not known.
ANY = re.compile(".*?")
# What a program has said, on as many lines as it likes.
LINES = re.compile("(?s:.*?)")
# In place of libvirt's error code: a text of virt-tpm-volume.
TOOL = "virt-tpm-volume"


class Output(str):
    """What a command has printed or a log holds. An Expected can be looked for in it."""

    def __contains__(self, what):
        return bool(re.search(what.pattern, self, re.M)) if isinstance(what, Expected) else super().__contains__(what)


@dataclasses.dataclass(frozen=True)
class Expected:
    """A pattern of what is expected, and how it is shown."""

    pattern: str
    shown: str

    def __repr__(self):
        return self.shown


@dataclasses.dataclass(frozen=True)
class Message:
    """A text for users: libvirt's error code; the text as it stands in the source; the remedy
    that follows it there after a colon. Without a code it is only a part of other messages."""

    code: str | None
    text: str
    remedy: str = ""

    def __repr__(self):
        return f"{self.code}: {self.format}"

    @property
    def format(self):
        """As it stands in the source."""
        return f"{self.text}: {self.remedy}" if self.remedy else self.text

    def __call__(self, *names, errno=None):
        """The whole message with names in it, in the order of their numbers. A name that is
        left out, or ANY, may be anything in a line; it may also be a pattern, or an Expected
        itself. What libvirt adds to a system error for its errno may be anything without one."""
        pattern = fill(self.format, names, as_pattern, re.escape)
        shown = f"{self.code or 'in it'}: {self.plain(*names)}"
        if self.code == "VIR_ERR_SYSTEM_ERROR":
            pattern += ": " + (re.escape(os.strerror(errno)) if errno else ".+")
            shown += f": {os.strerror(errno) if errno else '...'}"
        return Expected(surround(self.code, pattern), shown)

    def plain(self, *names):
        """The text with all of its names in it, as a string."""
        return fill(self.format, names, lambda name: "..." if name in (ANY, LINES) else str(name))


def error(code, *names):
    """An error of this code that has these names in it, each as a whole word, whatever else it says."""
    pattern = "".join(rf"(?=.*(?<!\w){as_pattern(name)}(?!\w))" for name in names)
    return Expected(surround(code, f"{pattern}.*"), f"{code}: ... {', '.join(map(str, names))}")


def fill(format, names, show, escape=str):
    """A format of C's with names in it, each made by show(), and what is between them by escape()."""
    parts = re.split(r"%(\d)\$[a-z]+", format)
    names = (*names, *[ANY] * 9)
    return "".join(show(names[int(part) - 1]) if index % 2 else escape(part) for index, part in enumerate(parts))


def as_pattern(name):
    """A pattern of a name."""
    return name.pattern if isinstance(name, (re.Pattern, Expected)) else re.escape(str(name))


def surround(code, pattern):
    """A pattern of an error's text, as part of a line: with what libvirt says for its code."""
    if code is None:
        return pattern
    before, after = ("", "") if code == TOOL else map(re.escape, frame(code))
    return f"(?:^|: ){before}{pattern}{after}$"


@functools.cache
def frame(code):
    """What libvirt says before and after the text of an error of this code."""
    # host needs this module itself.
    from host import TOP
    table = (TOP / "subprojects/libvirt/src/util/virerror.c").read_text(encoding="utf-8")
    entry = re.search(rf'\[{code}\] = {{[^}}]*"([^"]*)%(?:1\$)?s([^"]*)"', table)
    return entry[1], entry[2]
