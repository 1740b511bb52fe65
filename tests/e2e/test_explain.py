"""``mailserver explain`` agrees with the server about each situation of the fake internet."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from tests.support.e2e.commands import begin, end
from tests.support.e2e.server import Makes, Server, configuration
from tests.support.runs import rest_slow
from tests.support.senders.internet import internet
from tests.support.senders.situations import SITUATIONS, Situation

MODES = {"enforced": 'dmarc = "enforce"', "refused": 'spf = "refuse"'}
POLICY = """
[policy]
trusted_forwarders = ["lists.example"]
deadline = "2s"
"""


@attrs.frozen
class Site:
    server: Server
    mode: str


@pytest.fixture(params=MODES, scope="function")
def site(request: pytest.FixtureRequest, make_server: Makes) -> Iterator[Site]:
    with internet() as zone:
        dns = f'[dns]\nservers = ["{zone.address}"]\n'
        text = configuration(tables=f"{POLICY}{MODES[request.param]}\n{dns}")
        yield Site(make_server(text), request.param)


def explained(server: Server, one: Situation) -> tuple[int, list[str]]:
    words = ["--from", one.sender or "<>", "--to", one.to, "--ip", one.ip, "--helo", one.helo]
    file = server.directory / f"{one.name}.eml"
    file.write_bytes(one.message)
    status, lines, errors = end(begin(server, "explain", *words, "--message", str(file)))
    assert errors == []
    return status, lines


def problem(site: Site, one: Situation) -> str:
    """What does not agree, "" if all does."""
    status, lines = explained(site.server, one)
    code = getattr(one, site.mode)
    if code == "250":
        [field] = [line for line in lines if "adds Authentication-Results: mail.example.org;" in line]
        return "" if status == 0 and one.has in field else "\n".join(lines)
    word = "deferred" if code.startswith("4") else "rejected"
    rule = "spf" if code == "550 5.7.23" else "dmarc"
    is_right = (
        lines[-1].startswith(f"the message would be {word}: {code}") and f"(policy.{rule})" in lines[-1]
    )
    return "" if status == 1 and is_right else "\n".join(lines)


@pytest.mark.parametrize("number", rest_slow(list(range(6)), 1))
def test_it_agrees_with_the_server(site: Site, number: int) -> None:
    situations = SITUATIONS[number::6][: 3 if number == 0 else None]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda one: problem(site, one), situations)]
    assert not {one.name: text for one, text in zip(situations, found, strict=True) if text}


@pytest.mark.slow
def test_what_it_prints(make_server: Makes) -> None:
    with internet() as zone:
        dns = f'[dns]\nservers = ["{zone.address}"]\n'
        policy = f'{POLICY}dmarc = "enforce"\nmilter = ["unix:/nothing"]\n'
        server = make_server(configuration(tables=policy + dns))
        words = ["--from", "x@evil.example", "--to", "alice@example.org", "--ip", "203.0.113.66"]
        spoofed = next(one for one in SITUATIONS if one.name == "own envelope")
        file = server.directory / "mail.eml"
        file.write_bytes(spoofed.message.replace(b"\r\n", b"\n"))
        status, lines, _ = end(begin(server, "explain", *words, "--message", str(file)))
        text = "\n".join(lines)
        assert status == 1
        assert lines[0] == "client 203.0.113.66, EHLO [203.0.113.66]"
        assert "MAIL FROM:<x@evil.example>" in lines and "RCPT TO:<alice@example.org>" in lines
        assert '    DNS evil.example TXT: "v=spf1 ' in text and "    DNS _dmarc.good.example TXT: " in text
        assert "    the mail filters are not asked (policy.milter)" in lines
        assert "    routing: mailbox <alice@example.org>" in text
        assert re.search(r"policy\.spf, policy\.dkim, policy\.dmarc: rejected: .* \(policy\.dmarc\)", text)
        for recipient, expected in (
            ("nobody@example.org", "rejected: 550 5.1.1 <nobody@example.org>: no such user here (routing)"),
            ("x@far.example", "rejected: 550 5.7.1"),
        ):
            status, lines, _ = end(begin(server, "explain", *words[:3], recipient, *words[4:]))
            assert (status, expected in lines[-1]) == (1, True), lines
        own = ["--from", "alice@example.org", "--login", "alice@example.org", "--to", "x@far.example"]
        status, lines, _ = end(begin(server, "explain", *own, *words[4:]))
        assert status == 0 and lines[-1] == "the message would be accepted", lines
        assert not (server.directory / "data").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--to", "a@b.example", "--ip", "192.0.2.1"], "Missing option '--from'"),
        (["--from", "a b", "--to", "a@b.example", "--ip", "192.0.2.1"], "allowed: a mail address"),
        (["--from", "a@b.example", "--to", "a@b.example", "--ip", "one"], "allowed: an IP address"),
    ],
)
def test_wrong_usage(make_server: Makes, words: list[str], text: str) -> None:
    status, _, [line] = end(begin(make_server(configuration()), "explain", *words))
    assert status == 2 and text in line
