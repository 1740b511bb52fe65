"""Greylisting and the delay of first contacts: each situation with the server, and through ``explain``."""

import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs
import pytest

from tests.support.e2e.commands import begin, end
from tests.support.e2e.server import PASSWORD, Makes, Server, configuration, wait_until
from tests.support.senders.internet import internet
from tests.support.senders.waiting import BEFORE, CONTACT, FIRST, FRIEND, GREYLIST, GREYLISTED, OK, Waiting

TABLES = """
[smtp]
xclient_networks = ["127.0.0.1"]
plaintext_auth = true
[policy]
deadline = "2s"
greylist_delay = "{delay}"
first_contact_delay = "{delay}"
{mode}
[dns]
servers = ["{zone}"]
"""
MODES = {"greylist": ('greylist = "all"', GREYLIST), "first contact": ('first_contact = "delay"', CONTACT)}


def send(server: Server, one: Waiting) -> tuple[str, str]:
    """The stage and the text of the last reply."""
    with smtplib.SMTP(*server.smtp, timeout=60) as client:
        assert client.docmd("XCLIENT", f"ADDR={one.ip}")[0] == 220
        client.ehlo("client.example")
        assert client.mail(one.sender)[0] == 250
        code, text = client.rcpt(one.to)
        if code != 250:
            return "RCPT", f"{code} {text.decode()}"
        code, text = client.data(one.message)
        return "DATA", f"{code} {text.decode()}"


@contextmanager
def learned(make_server: Makes, mode: str, delay: str = "1h") -> Iterator[Server]:
    """A server that knows somebody, and has been started again since, with another delay."""
    with internet() as zone:
        text = configuration(tables=TABLES.format(mode=mode, zone=zone.address, delay="{delay}"))
        server = make_server(text.replace("{delay}", "1s")).start()
        stage, reply = send(server, BEFORE)
        assert (stage, reply[:9]) == ("RCPT", "451 4.7.1")
        wait_until(lambda: send(server, BEFORE)[1].startswith("250"), "the time of the delay")
        with smtplib.SMTP(*server.smtp) as client:
            client.login("alice@example.org", PASSWORD)
            client.sendmail("alice@example.org", FRIEND, "Subject: hello\r\n\r\nHello\r\n")
        server.stop()
        server.configure(text.replace("{delay}", delay))
        server.start()
        yield server


def explained(server: Server, one: Waiting) -> str:
    """What is wrong, "" if nothing is."""
    file = server.directory / f"{one.name}.eml"
    file.write_bytes(one.message)
    words = ["--from", one.sender or "<>", "--to", one.to, "--ip", one.ip, "--helo", "client.example"]
    status, lines, errors = end(begin(server, "explain", *words, "--message", str(file)))
    text = "\n".join(lines)
    assert errors == []
    if one.key == OK:
        right = status == 0 and lines[-1] == "the message would be accepted"
        return "" if right and ("adds X-First-Contact: yes" in text) == one.marked else text
    right = status == 1 and ("DATA" in lines) == (one.at == "DATA")
    last = "the message would be deferred: 451 4.7.1 "
    return "" if right and lines[-1].startswith(last) and lines[-1].endswith(f"({one.key})") else text


def really(server: Server, one: Waiting) -> str:
    """The same for the server."""
    stage, reply = send(server, one)
    if one.key == OK:
        if not reply.startswith("250") or one.event not in server.log:
            return f"{stage}: {reply}"
        id_ = reply.rpartition(" ")[2]
        stored = [path.read_bytes() for path in (server.data / "mail").glob("example.org/*/new/*")]
        [message] = [octets for octets in stored if f" id {id_}".encode() in octets]
        return "" if (b"\r\nX-First-Contact: yes\r\n" in message) == one.marked else message.decode()
    text = {GREYLISTED: "greylisted: please", FIRST: "first contact: please"}[one.key]
    right = reply.startswith(f"451 4.7.1 {text}") and stage == one.at
    right = right and (stage == "RCPT" or "MessagePostponed" in server.log)
    return "" if right else f"{stage}: {reply}"


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_server_and_explain_agree(make_server: Makes, mode: str) -> None:
    key, situations = MODES[mode]
    with learned(make_server, key) as server:
        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(lambda one: explained(server, one), situations)]
        assert not {one.name: text for one, text in zip(situations, found, strict=True) if text}
        assert not {one.name: text for one in situations if (text := really(server, one))}


@pytest.mark.slow
def test_a_first_contact_that_waits_and_one_that_dkim_spares(make_server: Makes) -> None:
    """Both delays run side by side."""
    by_name = {one.name: one for one in (*GREYLIST, *CONTACT)}
    with learned(make_server, 'greylist = "all"\nfirst_contact = "delay"', "1s") as server:
        # For other recipients a time of its own counts.
        for name, to in (
            ("forwarded, signed by a known domain", "alice"),
            ("forwarded, not signed", "bob"),
            ("first contact", "alice"),
        ):
            one = attrs.evolve(by_name[name], to=f"{to}@example.org")
            expected = "250" if one.key == OK else "451"
            assert send(server, one)[1].startswith(expected), name
        wait_until(lambda: send(server, by_name["first contact"])[1].startswith("250"), "the delay")
        assert "first contact: <x@evil.example> from 203.0.113.66 has passed after " in server.log
        assert by_name["forwarded, signed by a known domain"].event in server.log
        assert server.log.count("has passed after") == 2  # and the one before
