"""``mailserver dns``: prints the DNS records of a domain as a zone file, and what DNS has of them.

The whole output is a zone file: everything that is not a record is a comment.
"""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailserver.cli.console import configured, valid_argument
from mailserver.commands.zone.zone_file import TTL, comment, record_line
from mailserver.config.loader import load
from mailserver.config.schema.dns_kinds import DNS_NAME
from mailserver.config.schema.mail_kinds import IP_ADDRESS

if TYPE_CHECKING:
    from mailserver.app.zone import DomainZone
    from mailserver.commands.zone.published import RecordReport, RecordState, WantedRecord

INDENT = 11  # columns before the text of a report


@click.command
@click.argument("domain")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="IP",
    help="Public address of the server; may be repeated. Default: those of this machine.",
)
@click.option("--zone", "only_zone", is_flag=True, help="Print the records only; ask no DNS server.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@configured
def dns(domain: str, addresses: tuple[str, ...], only_zone: bool, as_json: bool, config: Path) -> int:
    """Print the DNS records that DOMAIN should have, and check them.

    The output is a zone file with comments. Asks the resolvers of [dns]. Exit status 1 if a record is missing
    or wrong, or could not be looked up; optional records may be missing.
    """
    from mailserver.app.zone import ZoneCheck  # slow, and no other command needs it

    name = valid_argument(domain.removesuffix("."), DNS_NAME)
    loaded = load(config, os.environ)
    check = ZoneCheck(config, loaded, name, [str(valid_argument(one, IP_ADDRESS)) for one in addresses])
    zone = check.zone() if only_zone else check.check()
    if as_json:
        click.echo(json.dumps(_object(zone), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(zone_lines(zone)))
    return 1 if any(report.is_problem for report in zone.reports) else 0


def zone_lines(zone: "DomainZone") -> Iterator[str]:
    """The zone file of a domain."""
    setup = zone.setup
    yield from comment(f"DNS records of {setup.domain}, whose mail comes to {setup.hostname}.")
    for warning in zone.warnings:
        yield from comment(f"WARNING: {warning}")
    yield f"$TTL {TTL}"
    purpose = ""
    for record in zone.wanted:
        if record.purpose != purpose:
            yield ""
            yield from comment(record.purpose)
            purpose = record.purpose
        line = record_line(record.name, record.kind, record.data)
        yield f";{line}" if record.elsewhere else line
    file = zone.sts_policy
    yield ""
    yield from comment(f"The file {file.url} for MTA-STS:")
    for line in file.content.splitlines():
        yield f";   {line}"
    if zone.reports:
        yield ""
        yield from _report(zone.reports)


def _report(reports: "Sequence[RecordReport]") -> Iterator[str]:
    asked = [report.state for report in reports if report.record.questions]
    if all(state.status == "unknown" for state in asked):
        yield from comment(f"Nothing is checked, because DNS does not answer. {asked[0].effect}")
        return
    yield from comment("What DNS has:")
    for report in reports:
        record, state = report.record, report.state
        effect = f": {state.effect}" if state.effect else ""
        optional = " (optional)" if record.optional and state.status == "missing" else ""
        yield from comment(f"{state.status:9}  {record.name}. {record.kind}{optional}{effect}", INDENT)
        if state.status != "right":
            for there in state.there:
                yield from comment(f"{'':9}  it has: {there}", INDENT)
    count = sum(report.is_problem for report in reports)
    yield ";"
    yield from comment(
        f"{count} of {len(reports)} records: somebody must act." if count else "All needed records are right."
    )


def _object(zone: "DomainZone") -> dict[str, Any]:
    file = zone.sts_policy
    states: list[RecordState | None] = [report.state for report in zone.reports]
    return {
        "domain": zone.setup.domain,
        "hostname": zone.setup.hostname,
        "addresses": list(zone.setup.senders),
        "warnings": list(zone.warnings),
        "records": [_member(*pair) for pair in zip_longest(zone.wanted, states)],
        "sts_policy": {"url": file.url, "content": file.content},
        "problems": sum(report.is_problem for report in zone.reports),
    }


def _member(record: "WantedRecord", state: "RecordState | None") -> dict[str, Any]:
    wanted = {
        "name": record.name,
        "type": record.kind,
        "data": record.data,
        "purpose": record.purpose,
        "optional": record.optional,
        "in_zone": not record.elsewhere,
    }
    if state is None:
        return wanted
    return {**wanted, "state": state.status, "effect": state.effect, "there": list(state.there)}
