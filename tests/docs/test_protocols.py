"""docs/protocols.md says what the code does: the page itself, its RFCs, its keys and their limits."""

import ast
import re

import pytest

from mailserver.app.listeners import PROTOCOLS
from mailserver.config.keys.addresses import AccountSection
from mailserver.config.keys.auth import AuthSection, TokenSection
from mailserver.config.keys.limits import LimitsSection
from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.pop3 import Pop3Section
from mailserver.config.keys.smtp import SmtpSection, SubmissionSection
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.tables import keys_of, leaves_of
from mailserver.mail.address import MAX_DOMAIN, MAX_LOCAL_PART
from mailserver.pop3 import verbs as pop3
from mailserver.pop3.options import POP3Options
from mailserver.store.names import MAX_UID
from tests.support import pop3 as pop3_fakes
from tests.support.docs.page import ROOT, Row, span, spans
from tests.support.docs.protocols import PAGE, POP3_COMMANDS, SMTP_COMMANDS, SOURCE, answer, keyword

# ---------------------------------------------------------------- the page itself


def test_there_is_nothing_to_run() -> None:
    """Tables and text alone: a block of code would have to be run by a test."""
    assert "```" not in PAGE.text
    assert "~~~" not in PAGE.text


def test_every_row_says_something() -> None:
    assert len(PAGE.rows) > 250
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
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        assert function in {node.name for node in tree.body if isinstance(node, functions)}


@pytest.mark.parametrize(
    "row", [*SMTP_COMMANDS.values(), *POP3_COMMANDS.values()], ids=lambda row: row["Command"]
)
def test_a_dialogue_that_shows_a_command_has_it(row: Row) -> None:
    command = re.compile(rf"(?mi)^C: {keyword(span(row['Command']))}\b")
    for name in spans(row["Shown by"]):
        if name.endswith(".txt"):
            assert command.search((ROOT / "tests" / name).read_text()), name


# ---------------------------------------------------------------- RFCs and configuration


def test_every_rfc_that_is_implemented_is_there() -> None:
    rooms = ("smtp", "pop3", "sasl", "accounts", "net", "wire", "mail", "routing")
    named = {
        number
        for room in rooms
        for path in (SOURCE / room).rglob("*.py")
        for number in re.findall(r"RFCs?\s+(?:# )?(\d+)", path.read_text())
    }
    listed = [row["RFC"] for row in PAGE.table("RFCs", "RFC")]
    assert len(listed) == len(set(listed))
    assert named <= set(listed)


SECTIONS = {
    "smtp": SmtpSection,
    "pop3": Pop3Section,
    "submission": SubmissionSection,
    "auth": AuthSection,
    "token": TokenSection,
    "limits": LimitsSection,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_protocols_is_there(section: str) -> None:
    for key, _ in leaves_of(SECTIONS[section]):
        assert f"`{section}.{key}`" in PAGE.text, f"{section}.{key}"


def test_every_key_that_is_named_exists() -> None:
    known = {key for key, _ in leaves_of(Config)}
    known |= {f"listen.{key.name}" for key in keys_of(ListenSection)}
    known |= {f"account.{key.name}" for key in keys_of(AccountSection)}
    sections = {key.partition(".")[0] for key in known}
    named = {
        key
        for key in re.findall(r"`(\w+\.\w+)`", PAGE.text)
        if key.partition(".")[0] in sections and not key.endswith((".txt", ".py"))
    }
    assert named <= known
    assert {"stop_grace", "postmaster", "domains", "catch_all"} <= known
    assert {key.partition(".")[0] for key in named} >= {*SECTIONS, "tls", "listen", "queue", "storage"}


def test_protocols_that_can_be_listened_for() -> None:
    [sentence] = re.findall(r"`protocol` other than ([^.]*) prevents", PAGE.text.replace("\n", " "))
    assert tuple(re.findall(r'"(\w+)"', sentence)) == tuple(PROTOCOLS)


FIXED = {
    "SMTP limits": {"octets of a local part": MAX_LOCAL_PART, "octets of a domain": MAX_DOMAIN},
    "POP3 limits": {
        "octets of a command": pop3.COMMAND_LINE,
        "octets of AUTH and of a response": pop3.AUTH_LINE,
        "consecutive commands that are not understood": POP3Options("x").max_errors,
        "octets of a unique-id": MAX_UID,
    },
    "Limits of clients": {},
}


@pytest.mark.parametrize("heading", FIXED)
def test_limits(heading: str) -> None:
    table = PAGE.table(heading, "Key")
    defaults = {key: str(made.default) for key, made in leaves_of(Config)}
    for row in table:
        assert not row["Key"] or row["Value"] == defaults[span(row["Key"])], row
    fixed = {re.split("[:,]", row["Limit"])[0]: int(row["Value"]) for row in table if not row["Key"]}
    assert fixed == FIXED[heading]


def test_every_limit_of_clients_has_a_row() -> None:
    keys = [span(row["Key"]) for row in PAGE.table("Limits of clients", "Key")]
    assert [*keys, "limits.exempt"] == [f"limits.{key}" for key, _ in leaves_of(LimitsSection)]


# ---------------------------------------------------------------- what is not there


@pytest.mark.parametrize(
    "row", PAGE.table("Not implemented", "What"), ids=lambda row: row["A client that sends"]
)
def test_what_is_not_there(row: Row) -> None:
    line, reply = span(row["A client that sends"]), span(row["gets"])
    if row["By"] == "SMTP":
        assert answer(line) == reply
    else:
        for server in (pop3_fakes.FakeServer(), pop3_fakes.FakeServer().logged_in()):
            assert server.feed(line.encode() + b"\r\n").decode().splitlines()[-1] == reply
        assert keyword(line).encode() not in pop3.VERBS
