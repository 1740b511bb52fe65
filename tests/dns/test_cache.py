"""The cache is bounded, and forgets what was not used for the longest time."""

from twisted.internet.task import Clock

from mailserver.dns.cache import AnswerCache
from mailserver.dns.records import DNSAnswer


def answer(name: str, ttl: float = 100.0) -> DNSAnswer:
    return DNSAnswer(name, "A", ("192.0.2.1",), ttl=ttl)


def test_the_size_is_bounded_by_the_octets_of_the_messages() -> None:
    cache = AnswerCache(Clock().seconds, capacity=10_000)
    for number in range(100):
        cache.put((f"n{number}", "A"), answer(f"n{number}"), 100)
        assert cache.get(("n0", "A"))
    kept = [number for number in range(100) if cache.get((f"n{number}", "A"))]
    assert kept == [0, *range(82, 100)], "each answer counts at least 512"
    cache.put(("large", "A"), answer("large"), 9_000)
    assert [number for number in kept if cache.get((f"n{number}", "A"))] == [99]
    cache.put(("larger", "A"), answer("larger"), 10_001)
    assert not any(cache.get((name, "A")) for name in ("larger", "large", "n99"))


def test_an_answer_is_replaced() -> None:
    clock = Clock()
    cache = AnswerCache(clock.seconds, capacity=1024)
    for ttl in (10.0, 20.0, 30.0):
        cache.put(("n", "A"), answer("n", ttl), 100)
        cache.put(("m", "A"), answer("m", 1000.0), 100)
    clock.advance(29)
    assert cache.get(("n", "A")) == answer("n", 1.0) and cache.get(("m", "A"))
    clock.advance(1)
    assert cache.get(("n", "A")) is None
    cache.put(("o", "A"), answer("o", 5.0), 100)
    assert cache.get(("m", "A")), "an expired answer counts no more"
