"""The names in the reference of docs/fixture.md exist."""

import re

import pytest

from mailserver.faults.transcript import Transcript
from mailserver.testing.message import CaughtMessage
from mailserver.testing.rule_builder import RuleBuilder
from mailserver.testing.server import Clock, MailServer, RelayReplies, ScriptedProtocol
from mailserver.testing.sessions import Session
from mailserver.testing.settings import SECTIONS, Settings
from tests.support.docs.page import ROOT

PAGE = (ROOT / "docs" / "fixture.md").read_text().partition("## Reference")[2]
OBJECTS = {"smtp": ScriptedProtocol, "pop3": ScriptedProtocol, "relay": RelayReplies, "clock": Clock}


def names(title: str) -> list[str]:
    """The names in the first column of the table after a title."""
    rows = PAGE.partition(f"\n{title}\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [row.split("|")[1] for row in rows]
    return [name for cell in cells for name in re.findall(r"`\.?([a-z][\w.]*)", cell)]


def has(kind: type, name: str) -> bool:
    first, _, rest = name.partition(".")
    if rest:
        return has(OBJECTS[first], rest)
    return hasattr(kind, name) or name in getattr(kind, "__annotations__", {}) or name in OBJECTS


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("A server:", MailServer),
        ("A message:", CaughtMessage),
        ("A session:", Session),
        ("Acts:", RuleBuilder),
        ("Conditions:", RuleBuilder),
        ("Beside rules:", MailServer),
    ],
)
def test_each_name_exists(title: str, kind: type) -> None:
    found = names(title)
    assert len(found) > 4
    assert [name for name in found if not has(kind, name)] == []


def test_all_settings_are_there() -> None:
    settings = {field for field in Settings.__annotations__ if field != "sections"}
    assert set(names("Settings of `make_mailserver` and `MailServer`:")) == settings | set(SECTIONS)


def test_all_acts_and_conditions_are_there() -> None:
    public = {name for name in vars(RuleBuilder) if not name.startswith("_")}
    assert {*names("Acts:"), *names("Conditions:")} == public - {"remove", "fired"}


def test_the_parts_of_a_transcript_exist() -> None:
    (row,) = re.findall(r"\| `transcript` \|(.*)\|", PAGE)
    assert all(hasattr(Transcript, name) for name in re.findall(r"`(\w+)", row))
