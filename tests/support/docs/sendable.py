"""The SMTP replies that the code can send, read out of the source.

Those with a code of their own are calls of ``reply``, or octets that are written as they are; those that say
a verdict follow from the verdicts that any part of the server makes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mailserver.mail import verdict
from mailserver.smtp.verdicts import reply_for
from tests.support.docs.page import ROOT

_PACKAGE = ROOT / "mailserver"
_MAKERS = ("reply", "Reply")
_VERDICTS: dict[str, type[verdict.Defer | verdict.Refuse]] = {
    "Defer": verdict.Defer,
    "Refuse": verdict.Refuse,
}
# Where the code of a reply is not written down: reply() itself, and reply_for(), once for each of _VERDICTS.
_COMPUTED = {"smtp/replies.py": 1, "smtp/verdicts.py": 2}
# Verdicts made here end the connection, with a code that is written down.
_ENDING = "net/limits.py"
_RAW = re.compile(rb"([2-5][0-9][0-9]) ")


def _calls(path: Path, names: tuple[str, ...]) -> Iterator[tuple[str, list[ast.expr]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in names:
                yield name, node.args


def _written() -> set[tuple[int, str]]:
    found = set()
    computed: dict[str, int] = {}
    for path in [*(_PACKAGE / "smtp").glob("*.py"), *(_PACKAGE / "net").glob("*.py")]:
        for _, (code, enhanced, *_) in _calls(path, _MAKERS):
            if isinstance(code, ast.Constant) and isinstance(enhanced, ast.Constant):
                found.add((int(str(code.value)), str(enhanced.value)))
            else:
                name = str(path.relative_to(_PACKAGE))
                computed[name] = computed.get(name, 0) + 1
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and _RAW.match(node.value):
                found.add((int(node.value[:3]), ""))
    assert computed == _COMPUTED, "replies whose codes cannot be read here"
    return found


def _judged() -> set[tuple[int, str]]:
    found = set()
    for path in _PACKAGE.rglob("*.py"):
        if str(path.relative_to(_PACKAGE)) == _ENDING:
            continue
        for name, (status, *_) in _calls(path, tuple(_VERDICTS)):
            assert isinstance(status, ast.Name), f"{path}: a verdict with a status that cannot be read here"
            reply = reply_for(_VERDICTS[name](getattr(verdict, status.id), ""))
            found.add((reply.code, reply.enhanced))
    return found


def sendable() -> set[tuple[int, str]]:
    """Pairs of code and enhanced code; the latter is empty where there is none."""
    return _written() | _judged()
