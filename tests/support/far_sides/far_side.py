"""A server that gets mail by SMTP (RFC 5321) or LMTP (RFC 2033): it follows a script, and records.

It is a factory of Twisted for any reactor. Without a script it accepts everything. ``faults`` has what a
client has done that no client may do; a test looks at it at its end.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import attrs
from twisted.internet.protocol import ServerFactory
from twisted.internet.ssl import CertificateOptions

from tests.support.far_sides.dialogue import Dialogue
from tests.support.far_sides.records import Session, Transaction
from tests.support.far_sides.scripts import Act, Rule, Script, Usual

EXTENSIONS = (
    "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 52428800", "CHUNKING", "BINARYMIME", "DSN",
    "ENHANCEDSTATUSCODES",
)  # fmt: skip


@attrs.define(eq=False, kw_only=True)
class FarSide(ServerFactory):
    """One far side, on any number of ports.

    ``tls`` is what it shows after STARTTLS, or at once if ``implicit``; without it there is no STARTTLS.
    ``users`` may log in by PLAIN. ``require_login``: before MAIL. The script may be replaced at any time.
    """

    reactor: Any
    script: Script = ()
    name: str = "far.example"
    lmtp: bool = False
    extensions: Iterable[str] = EXTENSIONS
    tls: CertificateOptions | None = None
    implicit: bool = False
    users: dict[str, str] = attrs.field(factory=dict)
    require_login: bool = False
    sessions: list[Session] = attrs.field(factory=list)
    transactions: list[Transaction] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    _times: dict[tuple[Rule, object], list[float]] = attrs.field(factory=dict, repr=False)

    noisy = False

    def buildProtocol(self, addr: Any) -> Dialogue:
        session = Session(getattr(addr, "host", ""), self.reactor.seconds())
        self.sessions.append(session)
        return Dialogue(self, session)

    @property
    def kept(self) -> list[Transaction]:
        """The messages that this far side has accepted responsibility for."""
        return [one for one in self.transactions if one.kept]

    def copies(self, recipient: str) -> int:
        """How often this recipient has got a message."""
        return sum(recipient in one.accepted for one in self.kept)

    def acts(self, step: str, argument: str, scopes: Callable[[str], object]) -> tuple[Act, ...]:
        """What to do at a step; ``scopes`` tells what is counted for each way to count."""
        chosen: tuple[Act, ...] | None = None
        now = self.reactor.seconds()
        for rule in self.script:
            if rule.step != step or rule.where.lower() not in argument.lower():
                continue
            times = self._times.setdefault((rule, scopes(rule.per)), [])
            if rule.within < inf:
                times[:] = [time for time in times if time > now - rule.within]
            applies = rule.after <= len(times) < rule.after + rule.times
            if not applies or rule.within == inf:
                times.append(now)  # what is refused for its rate does not count towards it
            if applies and chosen is None:
                chosen = rule.acts
        return (Usual(),) if chosen is None else chosen
