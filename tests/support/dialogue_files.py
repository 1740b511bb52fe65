r"""Dialogues in files: what a client sends, and what it must get for it.

``name: value`` lines come first, then ``C: `` and ``S: `` lines, which get a CRLF; ``R: `` is sent
as it is. Empty lines and those that begin with # are comments. In the text \r, \n, \\ and \xNN
stand for octets, and ``{text * 1000}`` for a text many times over.
"""

import re
from pathlib import Path

import attrs

_ESCAPE = re.compile(rb"\\(?:[rn\\]|x[0-9a-f]{2})")
_REPEAT = re.compile(r"\{(.+?) \* (\d+)\}")
_OCTETS = {rb"\r": b"\r", rb"\n": b"\n", rb"\\": b"\\"}


@attrs.frozen
class DialogueFile:
    """The file as it is: directives by name, and pairs of what is sent and what comes back.

    The first pair sends nothing: it has the greeting.
    """

    directives: dict[str, list[str]]
    steps: tuple[tuple[bytes, bytes], ...]

    @property
    def greeting(self) -> bytes:
        return self.steps[0][1]

    @property
    def sent(self) -> bytes:
        return b"".join(sent for sent, _ in self.steps)

    @property
    def expected(self) -> bytes:
        """All that comes back after the greeting."""
        return b"".join(expected for _, expected in self.steps[1:])

    def one(self, name: str, default: str) -> str:
        """The value of a directive that stands at most once."""
        return self.directives.get(name, [default])[-1]


def unescape(text: str) -> bytes:
    """The octets that the text of a line stands for."""
    text = _REPEAT.sub(lambda match: match[1] * int(match[2]), text)
    return _ESCAPE.sub(lambda m: _OCTETS.get(m[0]) or bytes([int(m[0][2:], 16)]), text.encode())


def read_dialogue_file(path: Path, directives: tuple[str, ...]) -> DialogueFile:
    """Read a file in which only these directives may stand."""
    found: dict[str, list[str]] = {}
    steps = [(b"", b"")]
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        kind, _, rest = line.partition(":")
        rest = rest.removeprefix(" ")
        if kind == "C":
            steps.append((unescape(rest) + b"\r\n", b""))
        elif kind == "R":
            steps.append((unescape(rest), b""))
        elif kind == "S":
            steps[-1] = (steps[-1][0], steps[-1][1] + unescape(rest) + b"\r\n")
        else:
            assert kind in directives and len(steps) == 1, f"{path}: {line}"
            found.setdefault(kind, []).append(rest)
    return DialogueFile(found, tuple(steps))
