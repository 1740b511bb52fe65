"""A reload changes the servers that are asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import mailserver.dns.codec  # noqa: F401 - else the first lookup imports it in a thread
from mailserver.app.resolver import CurrentResolver
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.dns.reply import DNSReply
from mailserver.dns.transport import DNSTransport
from tests.support.e2e.server import configuration
from tests.support.fakes import stand_in

REPLY = DNSReply(
    rcode="NOERROR", reason="", truncated=False, authentic=False, records=("192.0.2.9",),
    canonical="example.org", aliases=0, complete=True, ttl=300.0, octets=100,
)  # fmt: skip


def test_a_changed_section_comes_into_force_at_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def ask(self: DNSTransport, server: object, *more: Any) -> DNSReply:
        asked.append(str(server))
        return REPLY

    def config(server: str) -> Config:
        path = tmp_path / "mailserver.toml"
        path.write_text(configuration() + f'\n[dns]\nservers = ["{server}"]\n')
        return load(path, {})

    def prepare(server: str) -> Callable[[], None]:
        commits: list[Callable[[], None]] = []
        Deferred.fromCoroutine(resolver.prepare(config(server))).addCallback(commits.append)
        return commits[0]

    monkeypatch.setattr(DNSTransport, "ask", ask)
    resolver = CurrentResolver(config("192.0.2.1"), stand_in(Clock()))
    resolver.lookup("example.org", "A")
    commit = prepare("[2001:db8::1]:5353")
    resolver.lookup("example.org", "A")
    assert asked == ["192.0.2.1"], "the answer is in the cache"
    commit()
    resolver.lookup("example.org", "A")
    assert asked == ["192.0.2.1", "[2001:db8::1]:5353"], "a cache of other servers does not count"
    prepare("[2001:db8::1]:5353")()
    resolver.lookup("example.org", "A")
    assert len(asked) == 2, "a reload that changes nothing keeps the cache"
