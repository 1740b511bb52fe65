"""DMARC over a resolver: which results count for other messages, and for how long."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailserver.errors import DNSFailure
from mailserver.policy.dmarc.evaluator import DMARCResult
from mailserver.policy.dmarc.lookups import check_dmarc
from mailserver.policy.result_cache import ResultCache
from tests.support.resolvers import FakeResolver, Question

POLICY: Question = ("_dmarc.example.org", "TXT")
TTL = 300.0  # of FakeResolver
FROM = b"From: A <a@example.org>\r\n"


class Author:
    """A domain with a policy, and the results for its messages."""

    def __init__(self, policy: Any = b"v=DMARC1; p=reject") -> None:
        self.clock = Clock()
        self.resolver = FakeResolver({POLICY: policy if isinstance(policy, DNSFailure) else [policy]})
        self.known: ResultCache[DMARCResult] = ResultCache(self.clock.seconds)

    def check(self, head: bytes = FROM, spf: str = "", dkim: tuple[str, ...] = ()) -> Any:
        work = check_dmarc(self.resolver, head, spf=spf, dkim=dkim, known=self.known)
        return Deferred.fromCoroutine(work).result

    def policies(self, *arguments: Any) -> tuple[str, str]:
        """The policies for a message, and for the next one after the owner has published p=none."""
        self.check(*arguments)  # now the resolver knows the answers
        first = self.check(*arguments).policy
        self.resolver.records[POLICY] = [b"v=DMARC1; p=none"]
        return first, self.check(*arguments).policy


def test_a_result_counts_until_its_answers_expire() -> None:
    author = Author()
    assert author.policies() == ("reject", "reject")
    author.clock.advance(TTL)
    assert author.check().policy == "none"


@pytest.mark.parametrize(
    ("head", "spf", "dkim"),
    [
        (b"From: b@sub.example.org\r\n", "", ()),
        (FROM, "example.net", ()),
        (FROM, "", ("example.net",)),
        (FROM, "", ("example.net", "example.net")),
    ],
)
def test_other_facts_have_their_own_result(head: bytes, spf: str, dkim: tuple[str, ...]) -> None:
    author = Author()
    author.policies()
    author.resolver.asked.clear()
    assert author.check(head, spf, dkim).policy == "none"


def test_another_from_field_of_the_domain_has_the_same_result() -> None:
    author = Author()
    author.policies()
    assert author.check(b"From: Somebody else <b@EXAMPLE.org>\r\n").policy == "reject"


@pytest.mark.parametrize("head", [b"", b"From: a@example.org, b@example.net\r\n"])
def test_a_message_without_an_author_domain_is_not_remembered(head: bytes) -> None:
    author = Author()
    assert [author.check(head).result for _ in range(3)] == ["permerror"] * 3
    assert author.resolver.asked == []


def test_a_failure_of_dns_is_not_remembered() -> None:
    author = Author(DNSFailure("SERVFAIL"))
    assert [author.check().result for _ in range(2)] == ["temperror"] * 2
    author.resolver.records[POLICY] = [b"v=DMARC1; p=reject"]
    assert author.check().result == "fail"
