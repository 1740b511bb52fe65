"""docs/fixture-clients.md says what the clients do: its tables, and all cases again for the same versions."""

import re

import pytest

from tests.support.docs.page import Page
from tests.support.mail_clients.cases import fetch, send
from tests.support.mail_clients.clients import MailClient
from tests.support.mail_clients.faults import FETCHING, SENDING, ClientFault
from tests.support.mail_clients.fetchers import FETCHERS
from tests.support.mail_clients.page import PAGE, TEXT, cells_of, faults_table, run_cases
from tests.support.mail_clients.senders import SENDERS
from tests.support.mail_clients.verdicts import Verdict

SENT, FETCHED = "Clients that send", "Clients that fetch"


@pytest.fixture(scope="module")
def page() -> Page:
    return Page.read(PAGE)


def named(name: str, faults: tuple[ClientFault, ...]) -> ClientFault:
    return next(fault for fault in faults if name in fault.name)


def test_there_are_forty_faults() -> None:
    assert len([fault for fault in (*SENDING, *FETCHING) if fault.script or fault.settings]) >= 40


def test_the_text_is_that_of_the_template(page: Page) -> None:
    pieces = re.split(r"\{\{[A-Z ]+\}\}", TEXT.read_text())
    assert re.fullmatch(".*?".join(map(re.escape, pieces)), page.text, re.DOTALL)


@pytest.mark.parametrize("faults", [SENDING, FETCHING], ids=["sending", "fetching"])
def test_the_scripts_are_those_of_the_page(page: Page, faults: tuple[ClientFault, ...]) -> None:
    assert faults_table(faults) in page.text


@pytest.mark.parametrize(
    ("heading", "faults", "clients"),
    [(SENT, SENDING, SENDERS), (FETCHED, FETCHING, FETCHERS)],
    ids=["sending", "fetching"],
)
def test_every_cell_has_a_word_that_is_explained(
    page: Page, heading: str, faults: tuple[ClientFault, ...], clients: tuple[MailClient, ...]
) -> None:
    explained = {row["Words"] for row in page.table("How to read the tables", "Words")}
    assert {verdict.value for verdict in Verdict} <= explained
    rows = page.table(heading, "Fault")
    assert [row["Fault"] for row in rows] == [fault.name for fault in faults]
    for row in rows:
        for client in clients:
            words = row[client.name].strip("*")
            assert re.sub(r"^(HANGS|CRASHES): ", "", words) in explained, words


def test_smtplib_makes_a_duplicate() -> None:
    result = send(SENDERS[0], named("stored, then reset", SENDING))
    assert result.words == "DUPLICATE"
    assert "SMTPServerDisconnected" in result.runs[0].reported


def test_poplib_loses_nothing() -> None:
    result = fetch(FETCHERS[0], named("removed, then reset", FETCHING))
    assert result.words == "reported, then once"
    assert "ConnectionResetError" in result.runs[0].reported


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "client"),
    [
        pytest.param(heading, client, id=f"{heading.split()[-1]}: {client.name}")
        for heading, clients in ((SENT, SENDERS), (FETCHED, FETCHERS))
        for client in clients
    ],
)
def test_the_client_does_what_the_page_says(page: Page, heading: str, client: MailClient) -> None:
    """With another version than that of the page nothing is compared."""
    [row] = [row for row in page.table(heading, "Version") if row["Client"] == client.name]
    if row["Version"] != client.version():
        pytest.skip(f"{client.name} is {client.version()} here, and {row['Version']} on the page")
    faults, run = (SENDING, send) if heading == SENT else (FETCHING, fetch)
    results = run_cases([client], []) if heading == SENT else run_cases([], [client])
    expected = {row["Fault"]: row[client.name] for row in page.table(heading, "Fault")}
    found = cells_of(client, faults, results)
    # on a busy machine a client may give up before it meets the fault: such a case runs once more, alone
    doubtful = [fault for fault in faults if found[fault.name] != expected[fault.name]]
    again = [run(client, fault) for fault in doubtful]
    for fault in doubtful:
        found |= cells_of(client, [fault], again)
    assert found == expected, again
