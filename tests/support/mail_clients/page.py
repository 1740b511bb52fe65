"""docs/fixture-clients.md: every client meets every fault, and the page has what happened.

``python -m tests.support.mail_clients.page`` runs all cases and writes the page.
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.mail_clients.cases import CaseResult, fetch, send
from tests.support.mail_clients.clients import LIMIT, TIMEOUT, MailClient
from tests.support.mail_clients.faults import FETCHING, SENDING, ClientFault
from tests.support.mail_clients.fetchers import FETCHERS
from tests.support.mail_clients.senders import SENDERS
from tests.support.mail_clients.verdicts import Verdict

PAGE = Path(__file__).parents[3] / "docs" / "fixture-clients.md"
TEXT = Path(__file__).with_name("page.md")
WORKERS = 6
NOT_APPLICABLE = "no STLS"


def applies(client: MailClient, fault: ClientFault) -> bool:
    """Whether a client can meet a fault at all."""
    return client.starttls or fault.tls != "starttls"


def run_cases(
    senders: Sequence[MailClient], fetchers: Sequence[MailClient], only: str = ""
) -> list[CaseResult]:
    """Run all cases of these clients, some at a time. ``only``: text in the names of the faults to run."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [
            pool.submit(run, client, fault)
            for run, clients, faults in ((send, senders, SENDING), (fetch, fetchers, FETCHING))
            for fault in faults
            for client in clients
            if applies(client, fault) and only in fault.name
        ]
        return [one.result() for one in waiting]


def cells_of(
    client: MailClient, faults: Sequence[ClientFault], results: Iterable[CaseResult]
) -> dict[str, str]:
    """The cells of a client's column by fault. What a careful client would not do is bold."""
    met = {result.fault: result for result in results if result.client == client.name}
    cells = {}
    for fault in faults:
        careful = {NOT_APPLICABLE, Verdict.UNMET.value, *(verdict.value for verdict in fault.careful)}
        words = met[fault.name].words if fault.name in met else NOT_APPLICABLE
        cells[fault.name] = words if words in careful else f"**{words}**"
    return cells


def rows(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    every = [header, *lines]
    first, *others = [f"| {' | '.join(line)} |\n" for line in every]
    return "".join([first, f"|{'---|' * len(header)}\n", *others])


def results_table(
    results: Sequence[CaseResult], faults: Sequence[ClientFault], clients: Sequence[MailClient]
) -> str:
    """A row for each fault, a column for each client."""
    columns = [cells_of(client, faults, results) for client in clients]
    lines = [
        [str(number), fault.name, *(column[fault.name] for column in columns)]
        for number, fault in enumerate(faults)
    ]
    return rows(["", "Fault", *(client.name for client in clients)], lines)


def faults_table(faults: Sequence[ClientFault]) -> str:
    """How each fault is scripted, and what can be asked of a client."""
    lines = []
    for number, fault in enumerate(faults):
        settings = ", ".join(f"{name}={json.dumps(value)}" for name, value in fault.settings.items())
        made = f"MailServer({settings})" if settings else ""
        steps = [f"`{step}`" for step in (made, fault.script, fault.between) if step]
        careful = "; or: ".join(verdict.value for verdict in fault.careful)
        lines.append([str(number), fault.name, ", then ".join(steps), careful])
    return rows(["", "Fault", "Script", "A careful client"], lines)


def versions_table(clients: Sequence[MailClient]) -> str:
    """What ran."""
    return rows(["Client", "Version", "Use"], ([one.name, one.version(), one.note] for one in clients))


def render() -> str:
    """The page, after a run of all cases."""
    sending, fetching = run_cases(SENDERS, []), run_cases([], FETCHERS)
    parts = {
        "SENDER COUNT": str(len({client.name.partition(",")[0] for client in SENDERS})),
        "FETCHER COUNT": str(len({client.name.partition(",")[0] for client in FETCHERS})),
        "FAULT COUNT": str(sum(bool(fault.script or fault.settings) for fault in (*SENDING, *FETCHING))),
        "TIMEOUT": str(TIMEOUT),
        "LIMIT": str(LIMIT),
        "SENDERS": versions_table(SENDERS),
        "FETCHERS": versions_table(FETCHERS),
        "SENDING": results_table(sending, SENDING, SENDERS),
        "FETCHING": results_table(fetching, FETCHING, FETCHERS),
        "SENDING FAULTS": faults_table(SENDING),
        "FETCHING FAULTS": faults_table(FETCHING),
    }
    return re.sub(r"\{\{([A-Z ]+)\}\}", lambda found: parts[found[1]], TEXT.read_text())


def main() -> None:
    """Run everything and write the page, or run some cases and print what the clients said."""
    parser = argparse.ArgumentParser(description="Run every client against every fault; write the page.")
    parser.add_argument("--client", help="run this client alone, print what it said, and write nothing")
    parser.add_argument(
        "--fault", default="", help="with --client: only faults with this text in their names"
    )
    wanted = parser.parse_args()
    if wanted.client is None:
        PAGE.write_text(render())
        return
    chosen = [[one for one in clients if one.name == wanted.client] for clients in (SENDERS, FETCHERS)]
    for result in run_cases(chosen[0], chosen[1], wanted.fault):
        print(f"{result.fault}: {result.words}")
        for run in result.runs:
            print(f"    {'ok' if run.ok else 'failed'}: {run.reported}")


if __name__ == "__main__":
    main()
