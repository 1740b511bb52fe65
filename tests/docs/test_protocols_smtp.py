"""docs/protocols.md says what the code does: the tables of SMTP."""

import re

import attrs
import pytest

from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.lmtp import LMTP_VERBS
from mailserver.smtp.options import NO_OFFER, Offer
from mailserver.smtp.states import SMTPState
from mailserver.smtp.verbs import COMMAND_LINE, VERBS
from tests.support import smtp as smtp_fakes
from tests.support.docs import observed
from tests.support.docs.page import ROOT, Row, span, spans
from tests.support.docs.protocols import PAGE, SMTP_COMMANDS, answer, in_place_of_any, keyword, names
from tests.support.docs.sendable import sendable

LMTP_COMMANDS = {span(row["LMTP command"]): row for row in PAGE.table("LMTP", "LMTP command")}
READS_COMMANDS = set(SMTPState) - {SMTPState.TEXT, SMTPState.REVERSED, SMTPState.CLOSED}
NOTHING = NO_OFFER
EVERYTHING = Offer(
    starttls=True,
    mechanisms=("MECHANISMS",),
    lookups=True,
    queue_starts=True,
    fetches=True,
    secure=True,
    submission=True,
    no_soliciting=True,
    xclient=True,
    xforward=True,
)
SHOWN = attrs.evolve(smtp_fakes.SETTINGS, max_messages=7, max_recipient_domains=8, no_soliciting=("CLASSES",))
LIMITS = f"RCPTMAX={SHOWN.max_recipients} MAILMAX=7 RCPTDOMAINMAX=8"


def test_states() -> None:
    table = PAGE.table("SMTP commands", "State")
    assert [(row["State"], row["A session is here when"]) for row in table] == [
        (phase.name.lower(), phase.value) for phase in SMTPState
    ]


def test_commands_and_their_syntax() -> None:
    assert [verb.syntax for verb in VERBS.values()] == list(SMTP_COMMANDS)


@pytest.mark.parametrize("syntax", SMTP_COMMANDS)
def test_where_a_command_is_legal(syntax: str) -> None:
    verb = VERBS[keyword(syntax)]
    row = SMTP_COMMANDS[syntax]
    replies = spans(row["Replies"])
    if verb.barred:
        assert row["Legal when"] == "never"
        assert replies == ["502 5.5.1"]
    else:
        legal = set(verb.then)
        assert names(row["Legal when"]) == {phase.name.lower() for phase in legal}
        assert ("503 5.5.1" in replies) == (legal != READS_COMMANDS)
        assert ("530 5.7.0" in replies) == verb.needs_login


@pytest.mark.parametrize("syntax", SMTP_COMMANDS)
def test_replies_to_a_command(syntax: str) -> None:
    """All that the sessions of the tests bring forth is in the table, and all in the table comes in them."""
    anytime = in_place_of_any("SMTP commands")
    seen = {code for verb, code in observed.smtp_replies() if verb == keyword(syntax)}
    assert set(spans(SMTP_COMMANDS[syntax]["Replies"])) - anytime == seen - anytime


@pytest.mark.parametrize("syntax", LMTP_COMMANDS)
def test_commands_of_lmtp(syntax: str) -> None:
    """The commands that differ from those of SMTP."""
    row, verb = LMTP_COMMANDS[syntax], LMTP_VERBS[keyword(syntax)]
    assert verb.syntax == syntax
    legal = {phase.name.lower() for phase in verb.then} if verb.barred is None else {"never"}
    assert names(row["Legal when"]) == legal
    replies = {code for name, code in observed.smtp_replies(lmtp=True) if name == verb.name}
    assert replies == set(spans(row["Replies"]))


def test_other_commands_of_lmtp_are_those_of_smtp() -> None:
    differ = {keyword(syntax) for syntax in LMTP_COMMANDS}
    assert set(LMTP_VERBS) ^ set(VERBS) <= differ
    for name in set(VERBS) - differ:
        assert LMTP_VERBS[name].then == VERBS[name].then and LMTP_VERBS[name].run is VERBS[name].run
        assert LMTP_VERBS[name].barred == VERBS[name].barred


def test_lengths_of_command_lines() -> None:
    table = {row["Command"]: int(row["Octets"]) for row in PAGE.table("SMTP limits", "Octets")}
    others = table.pop("every other")
    listed = {span(name): octets for name, octets in table.items()}
    assert {verb.name: listed.get(verb.name, others) for verb in VERBS.values()} == {
        verb.name: verb.max_line for verb in VERBS.values()
    }
    assert others == COMMAND_LINE


def test_extensions() -> None:
    table = PAGE.table("SMTP extensions", "Line")
    assert [keyword(span(row["Line"])) for row in table] == [extension.keyword for extension in EXTENSIONS]
    for row, extension in zip(table, EXTENSIONS, strict=True):
        line = span(row["Line"]).replace("RCPTMAX=N MAILMAX=N RCPTDOMAINMAX=N", LIMITS)
        assert extension.line(SHOWN, EVERYTHING) == line.replace("SIZE N", f"SIZE {SHOWN.max_message_size}")
        assert (row["Listed"] == "always") == extension.offered(NOTHING)
        assert extension.offered(EVERYTHING)
        assert spans(row["Parameters"]) == [*extension.mail, *extension.rcpt]


def test_parameters() -> None:
    table = {tuple(row["Parameter"].split(" of ")): row for row in PAGE.table("SMTP extensions", "Parameter")}
    assert set(table) == {(f"`{name}`", "MAIL") for extension in EXTENSIONS for name in extension.mail} | {
        (f"`{name}`", "RCPT") for extension in EXTENSIONS for name in extension.rcpt
    }
    for (_, verb), row in table.items():
        command, code = {
            "MAIL": ("MAIL FROM:<alice@example.org>", "250 2.1.0"),
            "RCPT": ("RCPT TO:<alice@example.org>", "250 2.1.5"),
        }[verb]
        for value in spans(row["Values"]):
            sent = f"{command} {value.replace('SIZE=N', 'SIZE=7')}"
            assert answer(sent, logged_in=verb == "MAIL") == code


def test_reply_codes() -> None:
    table = [(int(row["Code"]), row["Enhanced"]) for row in PAGE.table("SMTP reply codes", "Code")]
    assert table == sorted(sendable(), key=by_number)


def by_number(reply: tuple[int, str]) -> tuple[int, list[int]]:
    code, enhanced = reply
    return code, [int(part) for part in enhanced.split(".") if part]


@pytest.mark.parametrize(
    "row", PAGE.table("SMTP reply codes", "Code"), ids=lambda row: " ".join(row.values())[:9]
)
def test_a_dialogue_that_shows_a_reply_has_it(row: Row) -> None:
    reply = re.compile(rf"(?m)^S: {row['Code']}[- ]{re.escape(row['Enhanced'])}")
    for name in spans(row["Shown by"]):
        if name.endswith(".txt"):
            assert reply.search((ROOT / "tests" / name).read_text()), name


def test_every_reply_code_belongs_somewhere() -> None:
    table = {f"{row['Code']} {row['Enhanced']}".strip() for row in PAGE.table("SMTP reply codes", "Code")}
    by_command = {code for row in SMTP_COMMANDS.values() for code in spans(row["Replies"])}
    by_command |= {code for row in LMTP_COMMANDS.values() for code in spans(row["Replies"])}
    in_place_of_the_greeting = {"220", "554 5.5.1"}
    assert table == by_command | in_place_of_any("SMTP commands") | in_place_of_the_greeting


@pytest.mark.parametrize(
    "row", PAGE.table("Sessions as books print them", "SMTP"), ids=lambda row: row["SMTP"]
)
def test_as_books_print_it(row: Row) -> None:
    line = span(row["SMTP"])
    assert answer(line) == span(row["Reply"])
    assert answer(line, strict=True) == span(row["With `smtp.strict_syntax`"])
    dialogue = smtp_fakes.read_dialogue(ROOT / "tests" / span(row["Shown by"]))
    said = [observed.code(said) for sent, said in dialogue.steps if sent == line.encode() + b"\r\n"]
    assert said == [span(row["Reply"])]


def test_the_codes_of_the_rfcs() -> None:
    """RFC 5321 section 4.2.3, 4954, 1985, 2645, 3207, 7504 and those of the extensions: each is decided."""
    sent = {row["Code"] for row in PAGE.table("SMTP reply codes", "Code")}
    others = {row["Other code"] for row in PAGE.table("SMTP reply codes", "Other code")}
    known = (
        "211 214 220 221 235 250 251 252 253 334 354 421 432 450 451 452 453 454 455 458 459 500 501 502 503 "
        "504 521 530 534 535 538 550 551 552 553 554 555 556"
    )
    assert sent | others == set(known.split()) and not sent & others
