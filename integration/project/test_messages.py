"""The table of error texts agrees with the sources.

A text that is changed in one of them only is found, and one that breaks a rule of wording.
"""

import ast
import collections
import functools
import re
import subprocess

import messages
from expected import TOOL
from host import TOP

TREE = TOP / "subprojects/libvirt"
# A text that is translated, with what reports it as an error.
TRANSLATED = re.compile(r"""
    (?: virReportError \( \s* (?P<code>VIR_ERR_\w+) , \s*
      | (?P<system>virReportSystemError) \( (?:[^",;()] | \([^;()]*\))+ , \s*
    )?
    (?: "%s" , \s* )?
    \b _\( (?P<text> (?: \s* "(?:[^"\\]|\\.)*" )+ ) \s* \)""", re.X)
# What virt-tpm-volume tells by these is an error, or why it does nothing.
TELLERS = ("Failed", "NoState", "Skipped", "complain", "warn", "exit")

# What our C tests expect that is libvirt's own, or a name in a message.
NO_TEXTS = {"Invalid value for attribute 'version'", "/dev/full", "not good"}


def of_c(text):
    """The messages of a C file: {(code, text), ...}. What is only a part of one has no code."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return {(found["code"] or ("VIR_ERR_SYSTEM_ERROR" if found["system"] else None),
             ast.literal_eval(f"({found['text']})"))
            for found in TRANSLATED.finditer(text)}


def git(*command):
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", TREE, *command], check=True,
                          capture_output=True, text=True).stdout


def of_patches():
    """What the patches add to libvirt's own files. A text that one of these had before is libvirt's."""
    changed = git("diff", "--name-only", "--diff-filter=M", "upstream", "tpm", "--", "*.c", "*.h").split()
    before, after = (set().union(*(of_c(git("show", f"{branch}:{file}")) for file in changed))
                     for branch in ("upstream", "tpm"))
    known = {text for _, text in before}
    return {(code, text) for code, text in after if text not in known}


def literals(node):
    """The strings in an expression as formats of C's: what is put into one has a number there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        number = iter(range(1, len(node.values) + 1))
        yield "".join(part.value if isinstance(part, ast.Constant) else f"%{next(number)}$s" for part in node.values)
    elif isinstance(node, (ast.IfExp, ast.Tuple)):
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


def of_python(text):
    """The messages of virt-tpm-volume, but for what only puts a name before one."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and node.args:
            if getattr(node.func, "id", getattr(node.func, "attr", None)) in TELLERS:
                found.update(literals(node.args[0]))
        elif isinstance(node, ast.Return):
            found.update(text for text in literals(node.value) if text.startswith("FAILED: "))
    plain = {re.sub("^(error|FAILED): ", "", text) for text in found}
    return {(TOOL, text) for text in plain if re.search("[a-z]", re.sub(r"%\d\$s", "", text))}


@functools.cache
def in_sources():
    """{(code, text), ...} of all that are ours."""
    files = list(TOP.glob("src/*/*.[ch]"))
    assert files
    return set().union(of_patches(), of_python((TOP / "tools/virt-tpm-volume").read_text(encoding="utf-8")),
                       *(of_c(file.read_text(encoding="utf-8")) for file in files))


def test_table_is_that_of_the_sources():
    rows = collections.Counter((row.code, row.format) for row in messages.ALL)
    assert [row for row, count in rows.items() if count > 1] == []
    assert set(rows) - in_sources() == set()
    assert in_sources() - set(rows) == set()


def test_every_report_is_read():
    """What is reported in a form that is not understood here would be in no table."""
    for file in TOP.glob("src/*/*.c"):
        text = re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.S)
        found = sum(1 for found in TRANSLATED.finditer(text) if found["code"] or found["system"])
        assert found == len(re.findall(r"\bvirReport(?:System)?Error\(", text)), file


def pinned(text):
    """The texts that a C test expects of an error."""
    macros = dict(re.findall(r'^# *define (\w+) ("[^"\n]*")$', text, re.M))
    for literal, macro in re.findall(r'\.error = (?:("[^"]*")|(\w+))', text):
        yield ast.literal_eval(literal or macros[macro])
    for literal in re.findall(r'DO_TEST_FAILURE\("[^"]*", "[^"]*",\s*("[^"]*")\)', text):
        yield ast.literal_eval(literal)


def is_part(text, format):
    """Whether a text is a part of a message, from anywhere between its names on. A name has no space."""
    # Each literal character, and None for a name.
    tokens = [token for index, part in enumerate(re.split(r"(%\d\$[a-z]+)", format))
              for token in ([None] if index % 2 else part)]
    places = {place for place, token in enumerate(tokens) if token == text[0]}
    for character in text:
        after = {place + 1 for place in places if place < len(tokens) and tokens[place] in (character, None)}
        more = {place for place in places if place < len(tokens) and tokens[place] is None}
        places = (after | more) if character != " " else after - {place + 1 for place in more}
    return bool(places)


def test_texts_in_c_tests():
    """What these expect of an error is part of a message of the table."""
    files = [file.read_text(encoding="utf-8") for file in TOP.glob("tests/*tpm*.c")]
    added = "\n".join(re.findall(r"^\+(.*)", git("diff", "upstream", "tpm", "--", "tests/*.c"), re.M))
    texts = {text for file in (*files, added) for text in pinned(file)}
    assert len(texts) > 10
    assert {text for text in texts - NO_TEXTS
            if not any(is_part(text, row.format) for row in messages.ALL)} == set()


def test_wording():
    """What libvirt's messages have in common."""
    for row in messages.ALL:
        assert not re.search(r"\w'(t|re|ll|ve|d)\b", row.format), f"{row.format}: a contraction"
        assert "; " not in row.text, f"{row.format}: more than a clause and a remedy"
        assert not row.format.endswith("."), row.format
        assert not row.remedy or ": " not in row.text.removeprefix("%1$s: "), \
            f"{row.format}: more than a clause and a remedy"
