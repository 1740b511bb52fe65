"""docs/protocols.md says what the code does: its tables, compared with the code's own and with sessions."""

import ast
import re

import attrs
import pytest

from mailserver.config.model import Config
from mailserver.config.schema import leaves_of
from mailserver.config.sections import Pop3, Smtp
from mailserver.mail.address import MAX_DOMAIN, MAX_LOCAL_PART
from mailserver.pop3 import verbs as pop3
from mailserver.pop3.capabilities import capability_lines
from mailserver.pop3.settings import Settings as Pop3Settings
from mailserver.smtp.extensions import EXTENSIONS
from mailserver.smtp.verbs import COMMAND_LINE, NOT_HERE, VERBS, Phase
from mailserver.store.names import MAX_UID
from tests.docs import observed
from tests.docs.page import ROOT, Page, Row, span, spans
from tests.docs.sendable import sendable
from tests.pop3 import pop3_fakes
from tests.smtp import smtp_fakes
from tests.smtp.smtp_fakes import SETTINGS, FakeServer

PAGE = Page.read(ROOT / "docs" / "protocols.md")
SOURCE = ROOT / "mailserver"
READS_COMMANDS = set(Phase) - {Phase.TEXT, Phase.CLOSED}
TELLS = attrs.evolve(SETTINGS, verify="always")
SMTP_COMMANDS = {span(row["Command"]): row for row in PAGE.table("SMTP commands", "Legal when")}
POP3_COMMANDS = {span(row["Command"]): row for row in PAGE.table("POP3 commands", "Legal in")}


def keyword(syntax: str) -> str:
    return syntax.partition(" ")[0]


def names(cell: str) -> set[str]:
    return set(cell.split(", "))


def in_place_of_any(heading: str) -> set[str]:
    return {span(row["Reply"]) for row in PAGE.table(heading, "Reply")}


# ---------------------------------------------------------------- the page itself


def test_there_is_nothing_to_run() -> None:
    """Tables and text alone: a block of code would have to be run by a test."""
    assert "```" not in PAGE.text
    assert "~~~" not in PAGE.text


def test_every_row_says_something() -> None:
    assert len(PAGE.rows) > 150
    for row in PAGE.rows:
        assert any(row.values()), row
        assert row.get("Shown by", "named elsewhere") != "", row


def test_links_lead_to_headings() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", PAGE.text)}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE.text)) <= anchors


SHOWN_BY = sorted(
    {name for row in PAGE.rows for name in spans(row.get("Shown by", ""))}
    | set(re.findall(r"`(\w+/[\w/]+\.(?:txt|py)[^`]*)`", PAGE.text))
)


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_shows_it_exists(name: str) -> None:
    file, _, function = name.partition("::")
    path = ROOT / "tests" / file
    assert path.is_file()
    assert bool(function) == (path.suffix == ".py"), "a dialogue has no functions, and a test is one"
    if function:
        tree = ast.parse(path.read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# ---------------------------------------------------------------- RFCs and configuration


def test_every_rfc_that_the_protocols_implement_is_there() -> None:
    rooms = ("smtp", "pop3", "net", "wire", "mail", "routing")
    named = {
        number
        for room in rooms
        for path in (SOURCE / room).glob("*.py")
        for number in re.findall(r"RFCs? (\d+)", path.read_text())
    }
    listed = {row["RFC"] for row in PAGE.table("RFCs", "RFC")}
    # what HELP says is not here; the grammar lets the addresses of RFC 6531 through, for a session to come
    not_here = set(re.findall(r"RFC (\d+)", " ".join(NOT_HERE.values())))
    assert named - listed == {"6531"} | not_here


def test_every_key_of_the_protocols_is_there() -> None:
    for section, cls in (("smtp", Smtp), ("pop3", Pop3)):
        for key, _ in leaves_of(cls):
            assert f"`{section}.{key}`" in PAGE.text, f"{section}.{key}"


def test_every_key_that_is_named_exists() -> None:
    known = {key for key, _ in leaves_of(Config)}
    named = set(re.findall(r"`((?:smtp|pop3|limits|relay|queue|tls|storage)\.\w+)`", PAGE.text))
    assert named <= known
    assert {"stop_grace", "postmaster", "domains"} <= known


@pytest.mark.parametrize(
    "unused",
    [
        "config.tls",
        "config.limits",
        "config.relay",
        "queue.warn_after",
        "smtp.plaintext_auth",
        "pop3.login_delay",
    ],
)
def test_what_changes_nothing_yet_is_not_used(unused: str) -> None:
    mentioned = f"`[{unused.removeprefix('config.')}]`" if unused.startswith("config.") else f"`{unused}`"
    assert mentioned in PAGE.text
    used = re.compile(re.escape(unused) + r"\b")
    for path in SOURCE.rglob("*.py"):
        assert path.parent.name == "config" or not used.search(path.read_text()), path


FIXED = {
    "SMTP limits": {"octets of a local part": MAX_LOCAL_PART, "octets of a domain": MAX_DOMAIN},
    "POP3 limits": {
        "octets of a command": pop3.COMMAND_LINE,
        "commands that are not understood": Pop3Settings("x").max_errors,
        "wrong passwords": Pop3Settings("x").max_login_failures,
        "octets of a unique-id": MAX_UID,
    },
}


@pytest.mark.parametrize("heading", FIXED)
def test_limits(heading: str) -> None:
    table = PAGE.table(heading, "Key")
    defaults = {key: str(made.default) for key, made in leaves_of(Config)}
    for row in table:
        assert not row["Key"] or row["Value"] == defaults[span(row["Key"])], row
    fixed = {re.split("[:,]", row["Limit"])[0]: int(row["Value"]) for row in table if not row["Key"]}
    assert fixed == FIXED[heading]


def test_lengths_of_command_lines() -> None:
    table = {row["Command"]: int(row["Octets"]) for row in PAGE.table("SMTP limits", "Octets")}
    others = table.pop("every other")
    listed = {span(name): octets for name, octets in table.items()}
    assert {verb.name: listed.get(verb.name, others) for verb in VERBS.values()} == {
        verb.name: verb.max_line for verb in VERBS.values()
    }
    assert others == COMMAND_LINE


# ---------------------------------------------------------------- SMTP


def test_smtp_states() -> None:
    table = PAGE.table("SMTP commands", "State")
    assert [(row["State"], row["A session is here when"]) for row in table] == [
        (phase.name.lower(), phase.value) for phase in Phase
    ]


def test_smtp_commands_and_their_syntax() -> None:
    assert [verb.syntax for verb in VERBS.values()] == list(SMTP_COMMANDS)


@pytest.mark.parametrize("syntax", SMTP_COMMANDS)
def test_where_an_smtp_command_is_legal(syntax: str) -> None:
    verb = VERBS[keyword(syntax)]
    row = SMTP_COMMANDS[syntax]
    if verb.obsolete:
        assert row["Legal when"] == "never"
        assert spans(row["Replies"]) == ["502 5.5.1"]
    else:
        legal = READS_COMMANDS - set(verb.out_of_order)
        assert names(row["Legal when"]) == {phase.name.lower() for phase in legal}
        assert ("503 5.5.1" in spans(row["Replies"])) == bool(verb.out_of_order)


@pytest.mark.parametrize("syntax", SMTP_COMMANDS)
def test_replies_to_an_smtp_command(syntax: str) -> None:
    """All that the sessions of the tests bring forth is in the table, and all in the table comes in them."""
    anytime = in_place_of_any("SMTP commands")
    seen = {code for verb, code in observed.smtp_replies() if verb == keyword(syntax)}
    assert set(spans(SMTP_COMMANDS[syntax]["Replies"])) - anytime == seen - anytime


def test_extensions() -> None:
    table = PAGE.table("SMTP extensions", "Line")
    assert [keyword(span(row["Line"])) for row in table] == [extension.keyword for extension in EXTENSIONS]
    for row, extension in zip(table, EXTENSIONS, strict=True):
        line = span(row["Line"]).replace(" N", " 7")
        assert extension.line(attrs.evolve(SETTINGS, max_message_size=7)) == line
        assert (row["Listed"] == "always") == extension.offered(SETTINGS)
        assert extension.offered(TELLS)
        assert spans(row["Parameters"]) == [*extension.mail, *extension.rcpt]


@pytest.mark.parametrize(
    "row", [*SMTP_COMMANDS.values(), *POP3_COMMANDS.values()], ids=lambda row: row["Command"]
)
def test_a_dialogue_that_shows_a_command_has_it(row: Row) -> None:
    command = re.compile(rf"(?mi)^C: {keyword(span(row['Command']))}\b")
    for name in spans(row["Shown by"]):
        if name.endswith(".txt"):
            assert command.search((ROOT / "tests" / name).read_text()), name


def test_parameters() -> None:
    table = {tuple(row["Parameter"].split(" of ")): row for row in PAGE.table("SMTP extensions", "Parameter")}
    assert set(table) == {(f"`{name}`", "MAIL") for extension in EXTENSIONS for name in extension.mail} | {
        (f"`{name}`", "RCPT") for extension in EXTENSIONS for name in extension.rcpt
    }
    for row in table.values():
        for value in spans(row["Values"]):
            assert answer(f"MAIL FROM:<a@b.example> {value.replace('N', '7')}") == "250 2.1.0"


def test_reply_codes() -> None:
    table = [(int(row["Code"]), row["Enhanced"]) for row in PAGE.table("SMTP reply codes", "Code")]
    assert table == sorted(sendable())


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
    assert table == by_command | in_place_of_any("SMTP commands") | {"220"}


def answer(line: str, strict: bool = False) -> str:
    """The code of the reply to a command, in a state where it is legal if there is one."""
    server = FakeServer(attrs.evolve(TELLS, strict_syntax=strict))
    server.greeting()
    before = {"MAIL": b"EHLO c\r\n", "RCPT": b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n"}
    server.feed(before.get(observed.verb(line.encode()), b""))
    return observed.code(server.feed(line.encode() + b"\r\n"))


@pytest.mark.parametrize(
    "row", PAGE.table("Sessions as books print them", "SMTP"), ids=lambda row: row["SMTP"]
)
def test_smtp_as_books_print_it(row: Row) -> None:
    line = span(row["SMTP"])
    assert answer(line) == span(row["Reply"])
    assert answer(line, strict=True) == span(row["With `smtp.strict_syntax`"])
    dialogue = smtp_fakes.read_dialogue(ROOT / "tests" / span(row["Shown by"]))
    said = [observed.code(said) for sent, said in dialogue.steps if sent == line.encode() + b"\r\n"]
    assert said == [span(row["Reply"])]


# ---------------------------------------------------------------- POP3


PLACEHOLDERS = {
    "N messages": r"(?:1 message|\d+ messages)",
    "LIST": r"\d+(?:, \d+)+(?: and \d+ more)?",
    "HOST": r"\S+",
    "NAME": r"[!-~]+",
    "UID": r"[!-~]{1,70}",
    "SYNTAX": r".+",
    "VERB": r"[A-Z]+",
    "STATES": r"(?:AUTHORIZATION|TRANSACTION)(?: or TRANSACTION)?",
    "N": r"\d+",
    "M": r"\d+",
}
_PLACEHOLDER = re.compile(r"N messages|\b(?:LIST|HOST|NAME|UID|SYNTAX|VERB|STATES|N|M)\b")


def pattern(reply: str) -> re.Pattern[str]:
    """What a reply of the page may look like on the wire."""
    parts, end = "", 0
    for found in _PLACEHOLDER.finditer(reply):
        parts += re.escape(reply[end : found.start()]) + PLACEHOLDERS[found[0]]
        end = found.end()
    return re.compile(parts + re.escape(reply[end:]))


def pop3_spans(cell: str) -> list[str]:
    return [text for text in spans(cell) if text.startswith(("+OK", "-ERR"))]


def test_pop3_states() -> None:
    table = PAGE.table("POP3 commands", "State")
    assert [(row["State"], row["A session is here when"]) for row in table] == [
        (state.name, state.value) for state in pop3.State
    ]


def test_pop3_commands_their_syntax_and_where_they_are_legal() -> None:
    assert [(syntax, names(row["Legal in"])) for syntax, row in POP3_COMMANDS.items()] == [
        (verb.syntax, {state.name for state in verb.states}) for verb in pop3.VERBS.values()
    ]


@pytest.mark.parametrize("syntax", POP3_COMMANDS)
def test_replies_to_a_pop3_command(syntax: str) -> None:
    """All that the dialogues have is in the table, and all in the table is in a dialogue."""
    anytime = [pattern(reply) for reply in in_place_of_any("POP3 commands")]
    own = [pattern(reply) for reply in pop3_spans(POP3_COMMANDS[syntax]["Replies"])]
    seen = [line for verb, line in observed.pop3_replies() if verb == keyword(syntax)]
    for line in seen:
        assert any(reply.fullmatch(line) for reply in own + anytime), line
    for reply in own:
        assert any(reply.fullmatch(line) for line in seen), reply.pattern


def test_replies_to_any_pop3_command() -> None:
    anytime = [pattern(reply) for reply in in_place_of_any("POP3 commands")]
    for reply in anytime:
        assert any(reply.fullmatch(line) for _, line in observed.pop3_replies()), reply.pattern
    for verb, line in observed.pop3_replies():
        known = verb in map(keyword, POP3_COMMANDS)
        assert known or any(reply.fullmatch(line) for reply in anytime), line


@pytest.mark.parametrize(
    ("column", "state"),
    [("Before the login", pop3.State.AUTHORIZATION), ("After it", pop3.State.TRANSACTION)],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_capabilities(column: str, state: pop3.State, allowed: bool) -> None:
    rows = PAGE.table("POP3 capabilities", column)
    lines = [span(row[column]) for row in rows if allowed or "pop3.plaintext_auth" not in row["When"]]
    settings = Pop3Settings("x", version="VERSION", user_login_allowed=allowed)
    assert capability_lines(settings, state).decode().splitlines() == lines


def test_response_codes() -> None:
    source = (SOURCE / "pop3" / "replies.py").read_text()
    sent = set(re.findall(r'err\(f?"(\[[A-Z/-]+\])', source))
    table = {span(row["Code"]): row for row in PAGE.table("POP3 response codes", "Code")}
    assert set(table) == sent
    for code, row in table.items():
        commands = {
            keyword(syntax)
            for syntax, command in POP3_COMMANDS.items()
            if any(code in reply for reply in pop3_spans(command["Replies"]))
        }
        assert names(row["Commands"]) == commands


def test_pop3_as_books_print_it() -> None:
    for row in PAGE.table("Sessions as books print them", "POP3"):
        dialogue = pop3_fakes.read_dialogue(ROOT / "tests" / span(row["Shown by"]))
        step = (span(row["POP3"]).encode() + b"\r\n", span(row["Reply"]).encode())
        assert step in [(sent, said.partition(b"\r\n")[0]) for sent, said in dialogue.steps], row


# ---------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    "row", PAGE.table("What is not there", "What"), ids=lambda row: row["A client that sends"]
)
def test_what_is_not_there(row: Row) -> None:
    line, reply = span(row["A client that sends"]), span(row["gets"])
    if row["By"] == "SMTP":
        assert answer(line) == reply
    else:
        for server in (pop3_fakes.FakeServer(), pop3_fakes.FakeServer().logged_in()):
            assert server.feed(line.encode() + b"\r\n").decode().splitlines()[-1] == reply
        assert keyword(line).encode() not in pop3.VERBS
