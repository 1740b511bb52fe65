"""The words of the table: what became of the mail, and what the client said about it."""

from enum import Enum

import attrs

from tests.support.mail_clients.clients import ClientOutcome


class Verdict(Enum):
    """What became of the mail after two runs. The value is the word on the page."""

    ONCE = "once"
    AGAIN = "reported, then once"
    REPORTED = "reported"
    NOBODY = "reported, sent to nobody"
    TWICE = "DUPLICATE"
    PARTIAL = "once, and a PIECE"
    DAMAGED = "DAMAGED"
    LOST = "LOST"
    SILENT = "NOT REPORTED"
    LATE = "NOT REPORTED, then once"
    KEPT = "once, not deleted"
    STUCK = "never fetched"
    UNMET = "does not meet it"
    CLEAR = "PASSWORD SENT IN THE CLEAR"


@attrs.frozen
class Sent:
    """What a server has after the runs: whole copies for each recipient that it accepts, and damaged ones."""

    copies: tuple[int, ...]
    damaged: int = 0
    refused: int = 0


@attrs.frozen
class Fetched:
    """What became of one message: whole copies, copies that are not whole, and whether the server has it.

    ``at_first``: whether the first run brought a whole copy.
    """

    copies: int
    pieces: int
    on_server: bool
    at_first: bool


def judge_sending(sent: Sent, runs: list[ClientOutcome]) -> Verdict:
    """The verdict on a client that sends; it ran a second time if the first run failed and a user would."""
    ok = runs[-1].ok
    if max(sent.copies) > 1:
        return Verdict.TWICE
    if sent.damaged:
        return Verdict.DAMAGED
    if min(sent.copies) == 0:
        if ok:
            return Verdict.LOST
        return Verdict.NOBODY if sent.refused else Verdict.REPORTED
    if sent.refused:
        return Verdict.SILENT if ok else Verdict.REPORTED
    return Verdict.ONCE if len(runs) == 1 else Verdict.AGAIN


def judge_fetching(messages: list[Fetched], runs: list[ClientOutcome]) -> Verdict:
    """The verdict on a client that fetches and deletes, after two runs."""
    gone = [message for message in messages if not message.on_server]
    if any(message.copies == 0 and message.pieces == 0 for message in gone):
        return Verdict.LOST
    if any(message.copies == 0 for message in gone):
        return Verdict.DAMAGED
    if any(message.copies > 1 for message in messages):
        return Verdict.TWICE
    if any(message.pieces for message in messages):
        return Verdict.PARTIAL
    if any(message.copies == 0 for message in messages):
        if all(message.copies == 0 for message in messages) and not any(run.ok for run in runs):
            return Verdict.REPORTED
        return Verdict.STUCK
    if any(message.on_server for message in messages):
        return Verdict.KEPT
    if runs[0].ok:
        return Verdict.ONCE if all(message.at_first for message in messages) else Verdict.LATE
    return Verdict.AGAIN
