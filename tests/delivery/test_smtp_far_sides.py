"""The engine and its connections with scripted servers on loopback, in virtual time.

Every failure has an outcome, and a message that was answered arrives once.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from mailserver.config.keys.relay import RelaySection
from mailserver.config.keys.top_level import Config
from mailserver.delivery.smtp.engine import SMTPDelivery
from mailserver.dns.records import MX
from mailserver.interfaces import QueuedMessage
from mailserver.mail import outcome
from mailserver.mail.queued import QueuedRecipient
from mailserver.net.dialling import Dialler
from mailserver.queue.entries import InMemoryContent
from tests.support.fakes import stand_in
from tests.support.far_sides.far_side import FarSide
from tests.support.far_sides.scripts import (
    Drop,
    Endless,
    Keep,
    Rule,
    Say,
    Script,
    Silence,
    at,
    greylisting,
    most_messages,
    most_recipients,
    reply,
)
from tests.support.resolvers import FakeResolver
from tests.support.virtual_time import VirtualTimeReactor, virtual_time

TEXT = b"Subject: test\r\n\r\n.\r\n..\r\nHello\r\n"
LARGE = TEXT + b"A line of this large message.\r\n" * 20_000
DELIVERED, DEFERRED, FAILED = outcome.Delivered, outcome.Deferred, outcome.Failed


class World:
    """The domain example.net with two hosts; mail is tried at the first one, whose ``script`` is given."""

    def __init__(self, reactor: VirtualTimeReactor, script: Script, **options: Any) -> None:
        self.reactor = reactor
        self.first = FarSide(reactor=reactor, script=script, **options)
        self.second = FarSide(reactor=reactor)
        reactor.ports[25] = self._listen()
        resolver = FakeResolver(
            {
                ("example.net", "MX"): [MX(1, "mx1.example.net"), MX(2, "mx2.example.net")],
                ("mx1.example.net", "A"): ["127.0.0.1"],
                ("mx2.example.net", "A"): ["127.0.0.2"],
            }
        )
        relay = RelaySection(allow_private=True)
        config = Config(hostname="mail.example.org", relay=relay)
        self.engine = SMTPDelivery(config, stand_in(reactor), Dialler(reactor), resolver)

    def _listen(self) -> int:
        """A port that is free at both addresses."""
        while True:
            first = self.reactor.listenTCP(0, self.first, interface="127.0.0.1")
            port: int = first.getHost().port
            try:
                self.reactor.listenTCP(port, self.second, interface="127.0.0.2")
            except CannotListenError:
                first.stopListening()
            else:
                return port

    def send(self, *names: str, text: bytes = TEXT) -> list[Any]:
        recipients = [
            QueuedRecipient(
                number, "smtp:example.net", f"{name}@example.net", f"{name}@example.net", "alice@example.org",
                b"X-Trace: 1\r\n", 0, 0.0, (),
            )
            for number, name in enumerate(names)
        ]  # fmt: skip
        message = QueuedMessage(1, "m1", 0.0, "alice@example.org", len(text), InMemoryContent(text))
        outcomes = self.reactor.wait(self.engine.deliver(message, recipients))
        return [outcomes[one] for one in recipients]

    def copies(self, name: str) -> int:
        return self.first.copies(f"{name}@example.net") + self.second.copies(f"{name}@example.net")


@pytest.fixture
def reactor() -> Iterator[VirtualTimeReactor]:
    with virtual_time() as reactor:
        yield reactor


def refusals(code: str) -> Iterator[tuple[str, Script]]:
    for step in ("connect", "EHLO", "MAIL", "RCPT", "DATA", "."):
        yield f"{code} at {step}", at(step, f"{code} 4.0.0 no" if code[0] == "4" else f"{code} 5.0.0 no")


# The first host, and the outcome: its kind, and the number of copies at both hosts together.
CASES: dict[str, tuple[Script, type, int]] = {
    "accepted": ((), DELIVERED, 1),
    **{name: (script, DELIVERED if step in ("connect", "EHLO") else FAILED, step in ("connect", "EHLO"))
       for name, script in refusals("550") for step in [name.split()[-1]]},
    **{name: (script, DELIVERED if step in ("connect", "EHLO") else DEFERRED, step in ("connect", "EHLO"))
       for name, script in refusals("451") for step in [name.split()[-1]]},
    # At the dot it is a reply like any other one. Earlier, the other host is tried.
    **{name: (script, DELIVERED if name[-1] != "." else DEFERRED, name[-1] != ".")
       for name, script in refusals("421")},
    **{f"silence at {step}": ((Rule(step, (Silence(),)),), DELIVERED, 1)
       for step in ("connect", "EHLO", "MAIL", "RCPT", "DATA")},
    **{f"drop at {step}": ((Rule(step, (Drop(),)),), DELIVERED, 1)
       for step in ("connect", "EHLO", "MAIL", "RCPT", "DATA")},
    **{f"endless reply at {step}": ((Rule(step, (Endless(),)),), DELIVERED, 1)
       for step in ("connect", "MAIL")},
    **{f"garbage at {step}": ((Rule(step, (Say(b"\xff\x00\r\n\xfe\r\n"),)),), DELIVERED, 1)
       for step in ("connect", "EHLO", "MAIL", "RCPT")},
    "slow octets": ((Rule("MAIL", (Say(b"250 ok\r\n", 1.0),)),), DELIVERED, 1),
    # The whole message was sent: only the next attempt may send it again.
    "silence at the dot": ((Rule(".", (Silence(),)),), DEFERRED, 0),
    "drop at the dot": ((Rule(".", (Drop(),)),), DEFERRED, 0),
    "accepted, and the reply is lost": ((Rule(".", (Keep(), Drop())),), DEFERRED, 1),
    "accepted, with garbage for a reply": ((Rule(".", (Keep(), Say(b"ok\r\n"))),), DEFERRED, 1),
    "accepted, and 421 at once": (
        (Rule(".", (Keep(), Say(b"250 2.0.0 ok\r\n421 4.3.2 bye\r\n"), Drop())),), DELIVERED, 1,
    ),
    "greylisting": (greylisting(), DEFERRED, 0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "extensions"),
    [
        (case, extensions)
        for case in CASES
        for extensions in (("PIPELINING", "CHUNKING", "8BITMIME"), ("PIPELINING",), ())
        if not ("CHUNKING" in extensions and "DATA" in case)  # BDAT takes its place
    ],
)
def test_failures_of_the_first_host(reactor: VirtualTimeReactor, case: str, extensions: Any) -> None:
    script, kind, copies = CASES[case]
    world = World(reactor, script, extensions=extensions)
    [found] = world.send("bob")
    assert type(found) is kind, found
    assert world.copies("bob") == copies, found
    if isinstance(found, outcome.Deferred | outcome.Failed):
        assert found.text.startswith(found.host) and "mx1.example.net[127.0.0.1]" in found.text
        assert not found.reply or f"said: {found.reply}" in found.text
    assert world.first.faults == world.second.faults == []
    kept = world.first.kept + world.second.kept
    assert all(one.content == b"X-Trace: 1\r\n" + TEXT for one in kept)


@pytest.mark.parametrize("text", [TEXT, LARGE], ids=["small", "large"])
def test_recipients_over_a_limit(reactor: VirtualTimeReactor, text: bytes) -> None:
    world = World(reactor, (*most_recipients(10), Rule("RCPT", reply("550 5.1.1 no"), where="nobody")))
    names = [f"r{number}" for number in range(23)] + ["nobody"]
    found = world.send(*names, text=text)
    assert [type(one) for one in found] == [DELIVERED] * 23 + [FAILED]
    assert [world.copies(name) for name in names] == [1] * 23 + [0]
    assert len(world.first.sessions) == 1 and len(world.first.kept) == 3
    assert all(one.content == b"X-Trace: 1\r\n" + text for one in world.first.kept)


def test_a_drop_among_the_recipients(reactor: VirtualTimeReactor) -> None:
    dropped = (Rule("RCPT", (Drop(),), where="r2", times=1), Rule("RCPT", reply("550 5.1.1 no"), where="r1"))
    world = World(reactor, dropped, extensions=())
    found = world.send("r0", "r1", "r2", "r3")
    assert [type(one) for one in found] == [DELIVERED, FAILED, DELIVERED, DELIVERED]
    assert [world.copies(f"r{number}") for number in range(4)] == [1, 0, 1, 1]


def test_a_rate_that_is_exceeded_is_followed_by_the_other_host(reactor: VirtualTimeReactor) -> None:
    world = World(reactor, most_messages(3, 60.0))
    assert [type(world.send("bob")[0]) for _ in range(5)] == [DELIVERED] * 5
    assert (len(world.first.kept), len(world.second.kept)) == (3, 2)


def test_a_large_message_to_a_slow_reader_in_the_end(reactor: VirtualTimeReactor) -> None:
    world = World(reactor, (), extensions=("SIZE 100",))
    [found] = world.send("bob", text=LARGE)
    assert type(found) is FAILED and found.status.subject == 3
    # The other host is not asked, since the first one has decided.
    assert world.second.sessions == []
