"""docs/protocols.md says what the code does: the tables of POP3."""

import re

import attrs
import pytest

from mailserver.pop3 import verbs as pop3
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.login import POP3Login
from mailserver.pop3.options import POP3Options
from mailserver.pop3.replies import ResponseCode
from mailserver.pop3.states import POP3State
from mailserver.sasl.mechanisms import Channel
from tests.support import pop3 as pop3_fakes
from tests.support.docs import observed
from tests.support.docs.page import ROOT, span
from tests.support.docs.protocols import (
    PAGE,
    POP3_COMMANDS,
    in_place_of_any,
    keyword,
    names,
    pattern,
    pop3_spans,
)

LOGIN_REPLIES = [span(row["Login reply"]) for row in PAGE.table("POP3 commands", "Login reply")]
LOGS_IN = {keyword(syntax) for syntax, row in POP3_COMMANDS.items() if "a login reply" in row["Replies"]}
# What CAPA lists by the settings, and what the page says of it in the column "When".
ALLOWED = POP3Options("x", version="VERSION", plaintext_auth=True)
EVERYTHING = attrs.evolve(ALLOWED, starttls=True, mechanisms=("PLAIN",), login_delay=7)


def test_states() -> None:
    table = PAGE.table("POP3 commands", "State")
    assert [(row["State"], row["A session is here when"]) for row in table] == [
        (state.name, state.value) for state in POP3State
    ]


def test_commands_their_syntax_and_where_they_are_legal() -> None:
    assert [(syntax, names(row["Legal in"])) for syntax, row in POP3_COMMANDS.items()] == [
        (verb.syntax, {state.name for state in verb.then}) for verb in pop3.VERBS.values()
    ]


@pytest.mark.parametrize("syntax", POP3_COMMANDS)
def test_replies_to_a_command(syntax: str) -> None:
    """All that the dialogues have is in the table, and all in the table is in a dialogue."""
    anytime = [pattern(reply) for reply in in_place_of_any("POP3 commands")]
    own = [pattern(reply) for reply in pop3_spans(POP3_COMMANDS[syntax]["Replies"])]
    logins = [pattern(reply) for reply in LOGIN_REPLIES] if keyword(syntax) in LOGS_IN else []
    seen = [line for verb, line in observed.pop3_replies() if verb == keyword(syntax)]
    for line in seen:
        assert any(reply.fullmatch(line) for reply in own + logins + anytime), line
    for reply in own:
        assert any(reply.fullmatch(line) for line in seen), reply.pattern


def test_replies_to_a_login() -> None:
    assert sorted(LOGS_IN) == ["APOP", "AUTH", "PASS"]
    for reply in LOGIN_REPLIES:
        said_by = {verb for verb, line in observed.pop3_replies() if pattern(reply).fullmatch(line)}
        assert said_by & LOGS_IN, reply


def test_replies_to_any_command() -> None:
    anytime = [pattern(reply) for reply in in_place_of_any("POP3 commands")]
    for reply in anytime:
        assert any(reply.fullmatch(line) for _, line in observed.pop3_replies()), reply.pattern
    for verb, line in observed.pop3_replies():
        known = verb in map(keyword, POP3_COMMANDS)
        assert known or any(reply.fullmatch(line) for reply in anytime), (verb, line)


@pytest.mark.parametrize(
    ("column", "state"),
    [("Before the login", POP3State.AUTHORIZATION), ("After it", POP3State.TRANSACTION)],
)
@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        (attrs.evolve(ALLOWED, plaintext_auth=False), ("pop3.plaintext_auth", "SASL", "STLS", "LOGIN-DELAY")),
        (ALLOWED, ("SASL", "STLS", "LOGIN-DELAY")),
        (EVERYTHING, ()),
    ],
)
def test_capabilities(
    column: str, state: POP3State, settings: POP3Options, left_out: tuple[str, ...]
) -> None:
    rows = [row for row in PAGE.table("POP3 capabilities", column) if row[column]]
    kept = [row for row in rows if not any(word in " ".join(row.values()) for word in left_out)]
    lines = [re.sub(r"\bN\b", "7", span(row[column]).replace("MECHANISMS", "PLAIN")) for row in kept]
    login = POP3Login(settings, Channel("x"), "")
    assert capability_lines(settings, login, state).decode().splitlines() == lines


def test_capabilities_under_tls() -> None:
    """USER and SASL whatever may come in the clear, and no STLS."""
    settings = attrs.evolve(EVERYTHING, plaintext_auth=False)
    login = POP3Login(settings, Channel("x", secure=True), "")
    said = capability_lines(settings, login, POP3State.AUTHORIZATION).decode().splitlines()
    lines = [span(row["Before the login"]) for row in PAGE.table("POP3 capabilities", "Before the login")]
    assert [keyword(line) for line in said] == [keyword(line) for line in lines if line != "STLS"]


def test_response_codes() -> None:
    sent = {f"[{code.value}]" for code in ResponseCode}
    table = {span(row["Code"]): row for row in PAGE.table("POP3 response codes", "Code")}
    assert set(table) == sent
    for code, row in table.items():
        commands = {
            keyword(syntax)
            for syntax, command in POP3_COMMANDS.items()
            if any(code in reply for reply in pop3_spans(command["Replies"]))
        }
        if any(code in reply for reply in LOGIN_REPLIES):
            commands |= LOGS_IN
        assert names(row["Commands"]) == commands


def test_as_books_print_it() -> None:
    for row in PAGE.table("Sessions as books print them", "POP3"):
        dialogue = pop3_fakes.read_dialogue(ROOT / "tests" / span(row["Shown by"]))
        step = (span(row["POP3"]).encode() + b"\r\n", span(row["Reply"]).encode())
        assert step in [(sent, said.partition(b"\r\n")[0]) for sent, said in dialogue.steps], row
