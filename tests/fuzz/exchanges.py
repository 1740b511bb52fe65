"""SASL exchanges without a protocol around them: the third target.

A stream here is lines that end with LF: a mechanism, perhaps with an initial response, then responses.
"""

from collections import Counter
from collections.abc import Iterator

import attrs

from mailserver.sasl.coding import MAX_NAME
from mailserver.sasl.exchange import Exchange, ExchangeStep, Finished, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, available
from mailserver.sasl.steps import Reason
from tests.fuzz.broken import check
from tests.fuzz.known import HOST, PASSWORDS
from tests.fuzz.proofs import MAX_LINE, Transcript
from tests.fuzz.sent import Stream
from tests.fuzz.servers import Accounts, channel


@attrs.frozen
class Peer:
    """A connection, and the accounts behind it.

    ``told``: the client was told of all mechanisms. ``hasty``: it speaks while a question is open.
    """

    secure: bool = False
    told: bool = False
    hasty: bool = False
    down: bool = False


PEERS = {
    "plain": Peer(),
    "tls": Peer(secure=True, told=True),
    "untold": Peer(secure=True),
    "down": Peer(secure=True, down=True),
    "hasty": Peer(secure=True, hasty=True),
}


class _Client:
    """Plays one exchange to its end, and some lines further."""

    def __init__(self, peer: Peer, exchange: Exchange, lines: Iterator[bytes]) -> None:
        self.peer = peer
        self.exchange = exchange
        self.lines = lines
        self.accounts = Accounts(PASSWORDS, peer.down)
        self.transcript = Transcript(exchange.mechanism.name)
        self.interrupted = False
        self.last = 0  # octets of the line that was said last

    def play(self, initial: bytes | None) -> Finished | Rejected | None:
        """The end; None if the lines come to theirs before."""
        self.transcript.begin(initial)
        self.last = len(initial or b"")
        outcome = self.settle(self.exchange.begin(initial))
        while isinstance(outcome, Send):
            self.transcript.hear(outcome.line)
            line = next(self.lines, None)
            if line is None:
                return None
            self.transcript.say(line)
            self.last = len(line)
            outcome = self.settle(self.exchange.line(line))
        return outcome

    def settle(self, outcome: ExchangeStep) -> Send | Finished | Rejected:
        """Answer what is asked, or speak in between."""
        while not isinstance(outcome, Send | Finished | Rejected):
            shown = repr(outcome)
            check("password=" not in shown and "token=" not in shown, "questions show no secrets", shown)
            line = next(self.lines, None) if self.peer.hasty else None
            if line is None:
                outcome = self.exchange.answer(self.accounts.answer(outcome))
            else:
                self.interrupted = True
                outcome = self.exchange.line(line)
                check(isinstance(outcome, Rejected | Send), "who interrupts is not let in", outcome)
        return outcome


def examine(server: str, stream: Stream, seen: Counter[str]) -> None:
    """Check every property on one stream. Raises :class:`~tests.fuzz.broken.Broken`."""
    peer = PEERS[server]
    lines = iter([line.removesuffix(b"\r") for line in b"".join(stream).split(b"\n")[:-1]])
    name, space, rest = next(lines, b"").partition(b" ")
    mechanism = MECHANISMS.get(name.upper().decode("latin-1"))
    connection = channel(HOST, peer.secure)
    if peer.told:
        connection = attrs.evolve(connection, offered=frozenset(available(MECHANISMS, connection)))
    if mechanism is None or not mechanism.usable(connection):
        seen["nothing"] += 1
        return
    client = _Client(peer, Exchange(mechanism, connection), lines)
    end = client.play(rest if space else None)
    judge(client, end, seen)
    for line in lines:
        after = client.exchange.line(line)
        wanted = Reason.CANCELLED if line == b"*" else Reason.MALFORMED
        check(after == Rejected(wanted), "after the end nothing is taken", line, after)


def judge(client: _Client, end: Finished | Rejected | None, seen: Counter[str]) -> None:
    """Whether it was right to end so."""
    name, transcript = client.exchange.mechanism.name, client.transcript
    if isinstance(end, Finished):
        check(not client.interrupted, "who interrupts is not let in", end)
        account = f"{transcript.granted(PASSWORDS)}@example.org"
        check(end.account == account, "the one who has proven it is let in", end, account)
        seen[f"{name} in"] += 1
    elif isinstance(end, Rejected):
        seen[f"{name} {end.reason.name.lower()}"] += 1
        if end.reason is Reason.TOO_LONG:
            # An octet of a name becomes six characters at most.
            longest = max((len(said) for said in transcript.said if said), default=0)
            long = client.last > MAX_LINE - 2 or longest > MAX_NAME // 6
            check(long, "only what is too long is called so", client.last, longest)
        check((end.reason is Reason.TEMPORARY) <= client.peer.down, "the accounts can be asked", end)
        if not (client.peer.down or client.interrupted):
            transcript.refused(PASSWORDS)
    else:
        seen[f"{name} goes on"] += 1
