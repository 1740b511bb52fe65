"""docs/protocols.md says what the code does: the tables of the sending session."""

import re

import attrs
import pytest

from mailserver.sasl.client import CLIENT_MECHANISMS
from mailserver.sasl.client_scram import MAX_ITERATIONS, MIN_ITERATIONS
from mailserver.smtp.sender import core, opening, session
from mailserver.smtp.sender.content import BDAT_CHUNK
from mailserver.smtp.sender.events import Fate
from mailserver.smtp.sender.extensions import NO_EXTENSIONS, ServerExtensions, read_extensions
from mailserver.smtp.sender.replies import MAX_REPLY, MAX_TEXT, ServerReply
from tests.support.docs.page import ROOT, Row, span, spans
from tests.support.docs.protocols import PAGE

VALUES = {"LIMITS": " RCPTMAX=1 MAILMAX=1", "AUTH": " PLAIN"}


def offered(*keywords: str) -> ServerExtensions:
    lines = [keyword + VALUES.get(keyword, "") for keyword in keywords]
    return read_extensions(ServerReply(250, ("d.example", *lines)))


def test_extensions() -> None:
    """Each one makes a difference, and together they make all differences."""
    keywords = [span(row["Extension"]) for row in PAGE.table("Sending", "Extension")]
    for keyword in keywords:
        assert offered(keyword) != NO_EXTENSIONS, keyword
    everything = attrs.astuple(offered(*keywords))
    assert all(ours != none for ours, none in zip(everything, attrs.astuple(NO_EXTENSIONS), strict=True))


def test_mechanisms() -> None:
    table = PAGE.table("Sending", "Mechanism")
    assert [span(row["Mechanism"]) for row in table] == list(CLIENT_MECHANISMS)
    for row in table:
        mechanism = CLIENT_MECHANISMS[span(row["Mechanism"])]
        assert ("TLS" in row["Usable"]) == (mechanism.reveals or mechanism.binds)
        assert ("token" in row["Usable"]) == mechanism.token


def test_results() -> None:
    assert [row["Result"] for row in PAGE.table("Sending", "Result")] == [fate.name.lower() for fate in Fate]


def test_timeouts() -> None:
    commands = [
        value
        for module in (opening, session)
        for value in vars(module).values()
        if isinstance(value, core.ClientCommand)
    ]
    expected = {command.name.rpartition(" to ")[2]: command.timeout for command in commands}
    expected |= {"LHLO": expected["EHLO"], "TLS handshake": core.HANDSHAKE_TIMEOUT}
    expected |= {"block of content": core.BLOCK_TIMEOUT}
    names = "|".join(map(re.escape, expected))
    found = {
        name: float(row["Seconds"])
        for row in PAGE.table("Sending", "Seconds")
        for name in re.findall(names, row["Awaited"])
    }
    assert found == expected


def test_limits() -> None:
    assert [int(row["Value"]) for row in PAGE.table("Sending", "Limit")] == [
        MAX_REPLY,
        MAX_TEXT,
        opening.MAX_COMMAND,
        BDAT_CHUNK,
        MIN_ITERATIONS,
        MAX_ITERATIONS,
    ]


@pytest.mark.parametrize("row", PAGE.table("Sending", "Extension"), ids=lambda row: row["Extension"])
def test_a_dialogue_that_shows_an_extension_has_it(row: Row) -> None:
    for name in spans(row["Shown by"]):
        if name.endswith(".txt"):
            assert span(row["Extension"]) in (ROOT / "tests" / name).read_text().upper(), name
