"""A resolver for tests: its answers come from a dictionary, at times that the test's clock decides.

    clock = Clock()
    resolver = FakeResolver({
        ("example.org", "MX"): [MX(10, "mx.example.org")],
        ("mx.example.org", "A"): ["192.0.2.1"],
        ("broken.example", "MX"): DNSFailure("SERVFAIL"),
    }, clock)
    resolver.delays["example.org", "MX"] = 5.0   # answer after five seconds
    resolver.records["example.org", "MX"] = []   # from now on: no data

A name without any entry does not exist (NXDOMAIN); a name with records of other kinds only has no data. A
value may also be a whole ``DNSAnswer``. ``secure`` has the names whose answers are secure. ``asked`` has all
questions, in their order.
"""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import MX, SRV, TLSA, DNSAnswer, RecordKind
from mailserver.errors import DNSFailure

Question = tuple[str, RecordKind]
Records = Sequence[MX | SRV | TLSA | str | bytes]


@implementer(IResolver)
class FakeResolver:
    """``records`` by lower-case name without the final dot, and kind."""

    def __init__(
        self, records: Mapping[Question, Records | DNSAnswer | DNSFailure], clock: IReactorTime | None = None
    ) -> None:
        self.records = dict(records)
        self.delays: dict[Question, float] = {}
        self.secure: set[str] = set()
        self.asked: list[Question] = []
        self._clock = clock or Clock()

    def lookup(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        question = (name.lower().removesuffix("."), kind)
        self.asked.append(question)
        delay = self.delays.get(question, 0.0)
        if delay:
            return deferLater(self._clock, delay, self._answer, *question)
        return execute(self._answer, *question)

    def known(self, name: str, kind: RecordKind) -> DNSAnswer | None:
        question = (name.lower().removesuffix("."), kind)
        if question not in self.asked or isinstance(self.records.get(question), DNSFailure):
            return None
        return self._answer(*question)

    def _answer(self, name: str, kind: RecordKind) -> DNSAnswer:
        canonical = name
        while kind != "CNAME" and (alias := self.records.get((canonical, "CNAME"))):
            canonical = str(alias[0])  # type: ignore[index]
        found = self.records.get((canonical, kind), ())
        if isinstance(found, DNSFailure):
            raise found
        if isinstance(found, DNSAnswer):
            return found
        exists = any(known == canonical for known, _ in self.records)
        return DNSAnswer(name, kind, tuple(found), exists, name in self.secure, 300.0, canonical)
