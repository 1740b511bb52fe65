"""When the word of a trusted forwarder counts."""

import time

import pytest

from mailserver.policy.arc.verifier import ARCResult
from mailserver.policy.trusted_forwarders import vouching_forwarder

AUTHOR = "good.example"
PASS = b" i=1; lists.example; spf=pass smtp.mailfrom=x; dmarc=pass (p=reject) header.from=good.example"
FAIL = PASS.replace(b"dmarc=pass", b"dmarc=fail")
OTHER = PASS.replace(b"good", b"evil")
LISTS, CLUB, EVIL = "lists.example", "club.example", "evil.example"


@pytest.mark.parametrize(
    ("sealers", "results", "found"),
    [
        ((LISTS,), (PASS,), LISTS),
        ((LISTS,), (FAIL,), ""),
        ((EVIL,), (PASS,), ""),
        ((EVIL, LISTS), (FAIL, PASS), LISTS),
        ((EVIL, LISTS), (PASS, FAIL), ""),
        ((CLUB, LISTS), (PASS, FAIL), CLUB),
        ((CLUB, EVIL, LISTS), (PASS, PASS, FAIL), ""),
        ((LISTS, EVIL), (PASS, PASS), ""),
        ((), (), ""),
    ],
)
def test_the_chain(sealers: tuple[str, ...], results: tuple[bytes, ...], found: str) -> None:
    arc = ARCResult(result="pass", sealers=sealers, results=results)
    assert vouching_forwarder(arc, {LISTS, CLUB}, AUTHOR) == found


@pytest.mark.parametrize("result", ["none", "fail"])
def test_no_valid_chain(result: str) -> None:
    arc = ARCResult(result=result, sealers=(LISTS,), results=(PASS,))  # type: ignore[arg-type]
    assert vouching_forwarder(arc, {LISTS}, AUTHOR) == ""


@pytest.mark.parametrize(
    ("results", "counts"),
    [
        (PASS, True),
        (OTHER, False),
        (b"i=1; x; dmarc=pass header.from=GOOD.example", True),
        (b"i=1; x; dmarc=pass header.from=a@good.example", True),
        (b"i=1; x;\r\n\tDMARC = pass\r\n\t(p=none)\r\n\theader.from = good.example;", True),
        (b"i=1; x; dmarc=pass action=none header.from=good.example;compauth=pass", True),
        (b"i=1; x; dmarc=pass", False),
        (b"i=1; x; dmarc=passed header.from=good.example", False),
        (b"i=1; x; dmarc=pass; header.from=good.example", False),
        (b'i=1; x; dmarc=fail reason="; dmarc=pass header.from=good.example"', False),
        (b'i=1; x; dmarc=pass reason="header.from=good.example" header.from=evil.example', False),
        (b"i=1; x; spf=pass (; dmarc=pass header.from=good.example)", False),
        (b'i=1; x; spf=pass smtp.mailfrom="\\"; dmarc=pass header.from=good.example"', False),
        (b"i=1; x; spf=pass (\\(); dmarc=pass header.from=good.example", True),
        (b"i=1; x; spf=pass (a; dmarc=pass header.from=good.example", False),
        (b"i=1; x; dmarc=pass header.from=good.example.evil.example", False),
        (b"i=1; x; dmarc=pass xheader.from=good.example", False),
        (b"i=1; x; dmarc=pass header.from=good.example; dmarc=fail header.from=good.example", False),
        (b"", False),
        (b"\xff;\0", False),
    ],
)
def test_what_it_says(results: bytes, counts: bool) -> None:
    arc = ARCResult(result="pass", sealers=(LISTS,), results=(results,))
    assert (vouching_forwarder(arc, {LISTS}, AUTHOR) == LISTS) is counts


@pytest.mark.parametrize(
    "text", [b"(" * 200_000, b"; dmarc=pass " * 20_000, b"dmarc" + b" " * 200_000, b'"\\' * 100_000]
)
def test_hostile_results_take_little_time(text: bytes) -> None:
    began = time.process_time()
    arc = ARCResult(result="pass", sealers=(LISTS,), results=(text,))
    assert vouching_forwarder(arc, {LISTS}, AUTHOR) == ""
    assert time.process_time() - began < 2
