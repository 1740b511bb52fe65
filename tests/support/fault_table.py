"""The table of docs/fixture.md that says which act works at which moment, made from the checks of the rules:
``python -m tests.support.fault_table``."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mailserver.faults.moments import BOTH, POP3, SMTP
from mailserver.faults.rules import Rules
from mailserver.testing.rule_builder import RuleBuilder, begin_rule

DOCUMENT = Path(__file__).parents[2] / "docs/fixture.md"
BEGIN, END = "<!-- fault table -->\n", "<!-- end of the fault table -->\n"

VERBS: Mapping[str, tuple[str, ...]] = {
    SMTP: (
        *("HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY"),
        *("XFOO", "QUIT"),
    ),
    POP3: (
        *("CAPA", "STLS", "USER", "PASS", "AUTH", "STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET"),
        *("NOOP", "XFOO", "QUIT"),
    ),
}
"""The verbs that are tried. XFOO is one that the server does not know."""


def _reply(rule: RuleBuilder) -> RuleBuilder:
    return rule.reply(450, "4.0.0", "no") if rule.rule.protocol == SMTP else rule.reply("-ERR", "no")


def _extra(rule: RuleBuilder) -> RuleBuilder:
    return rule.extra(250, "more") if rule.rule.protocol == SMTP else rule.extra("+OK", "more")


ACTS: Mapping[str, Callable[[RuleBuilder], RuleBuilder]] = {
    "reply": _reply,
    "raw": lambda rule: rule.raw(b"!\r\n"),
    "locked": lambda rule: rule.locked(),
    "extra": _extra,
    "delay": lambda rule: rule.delay("1h"),
    "drip": lambda rule: rule.drip(0.02),
    "truncate": lambda rule: rule.truncate(3),
    "corrupt": lambda rule: rule.corrupt(1),
    "garbage": lambda rule: rule.garbage(8),
    "swap": lambda rule: rule.swap(),
    "silence": lambda rule: rule.silence(),
    "lose": lambda rule: rule.lose(),
    "lie": lambda rule: rule.lie(100),
    "hang": lambda rule: rule.hang(),
    "reset": lambda rule: rule.reset(),
    "close": lambda rule: rule.close(),
    "half_close": lambda rule: rule.half_close(),
    "cut": lambda rule: rule.cut(),
}
"""Adds each act to a rule."""


def is_allowed(protocol: str, moment: str, at: int | None, act: str) -> bool:
    """Whether a rule can be made."""
    try:
        ACTS[act](begin_rule(Rules(), protocol, moment, None, at))
    except ValueError:
        return False
    return True


def _cell(act: str, moment: str, at: int | None) -> str:
    works = [protocol for protocol in BOTH if is_allowed(protocol, moment, at, act)]
    return _named(works)


def _named(protocols: list[str]) -> str:
    return {0: "-", 1: protocols[0].upper() if protocols else "", 2: "both"}[len(protocols)]


def _verb_cell(act: str) -> str:
    """The cell for all verbs: those that differ from an unknown one are named."""
    works = [protocol for protocol in BOTH if is_allowed(protocol, "XFOO", None, act)]
    others = sorted(
        {
            verb
            for protocol, verbs in VERBS.items()
            for verb in verbs
            if is_allowed(protocol, verb, None, act) != (protocol in works)
        }
    )
    if not others:
        return _named(works)
    return f"{_named(works)}, not {', '.join(others)}" if works else ", ".join(others)


def generated() -> str:
    """The table in Markdown."""
    columns: dict[str, Callable[[str], str]] = {
        '"tls"': lambda act: _cell(act, "tls", None),
        "a verb": _verb_cell,
        '"auth step"': lambda act: _cell(act, "auth step", None),
        "`at` an octet of a reply": lambda act: _cell(act, "XFOO", 4),
        "DATA, BDAT `at` an octet": lambda act: _cell(act, "DATA", 4),
        '"dot"': lambda act: _cell(act, "dot", None),
        '"stored"': lambda act: _cell(act, "stored", None),
        '"removed"': lambda act: _cell(act, "removed", None),
    }
    rows = [["act", *columns]]
    rows += [[f"`.{act}()`", *(cell(act) for cell in columns.values())] for act in ACTS]
    head, *lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([head, "|" + "---|" * len(rows[0]) + "\n", *lines])


def updated(page: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{generated()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
