"""What documents show to be run: Python, and command lines of shell blocks."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = re.compile(
    r"(?P<mark><!-- not run: [^\n]+ -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELLS = ("bash", "console", "sh")


class CodeBlock(NamedTuple):
    """A block of a document.

    Attributes:
        language: as its fence names it.
        code: its text, moved down to its line of the document.
        runs: whether no comment says that it is not run.
    """

    language: str
    code: str
    runs: bool


def code_blocks(document: str) -> Iterator[CodeBlock]:
    """The blocks of a document, in order."""
    for match in BLOCK.finditer(document):
        lines_before = "\n" * document.count("\n", 0, match.start("code"))
        code = lines_before + match["code"]
        yield CodeBlock(match["language"], code, not match["mark"])


def commands_of(block: CodeBlock) -> list[list[str]]:
    """The words of every command line of a shell block.

    In a `console` block only lines with a prompt are commands, the rest is output.
    """
    commands = []
    for line in block.code.replace("\\\n", " ").splitlines():
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
        if words := shlex.split(line, comments=True):
            commands.append(_without_shell_syntax(words))
    return commands


def _without_shell_syntax(words: list[str]) -> list[str]:
    """Cuts a line at a pipe, redirection or `&`, and variables before the command."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    ends = [i for i, word in enumerate(words) if word in ("&", "&&", "|", ">", "2>")]
    return words[: min(ends, default=len(words))]
