"""Trouble with listeners, and the self-test for an open relay."""

import socket

import pytest

from mailserver.app.doctor.findings import DoctorNote, NotChecked
from tests.support.doctor.listener import HOSTNAME, ScriptedListener
from tests.support.doctor.site import ADDRESS, DoctorSite, findings, outline

LISTENERS = [
    ("smtp", "none", {"greeting": "+OK hello"}, "error", "port-other-protocol", "+OK hello"),
    ("metrics", "none", {"greeting": "220 hello"}, "error", "port-other-protocol", "begins with HTTP/1."),
    ("pop3", "none", {"greeting": "220 hello"}, "error", "port-other-protocol", "begins with +OK"),
    ("smtp", "none", {"greeting": None}, "error", "port-silent", "closes the connection"),
    ("smtp", "starttls", {"replies": {"EHLO": "250 only this"}}, "error", "port-without-tls", "STARTTLS"),
    ("pop3", "starttls", {"replies": {"CAPA": "+OK\r\nUSER\r\n."}}, "error", "port-without-tls", "STLS"),
    (
        "smtp", "starttls", {"replies": {"STARTTLS": "454 not now"}},
        "error", "port-without-tls", "454 not now",
    ),
    ("smtp", "starttls", {}, "error", "port-tls", "handshake"),
    (
        "smtp", "none", {"greeting": "220 other.example ESMTP"},
        "warning", "port-other-name", '"other.example"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "tls", "script", "severity", "kind", "text"), LISTENERS)
def test_a_listener(
    site: DoctorSite, protocol: str, tls: str, script: dict[str, str], severity: str, kind: str, text: str
) -> None:
    with ScriptedListener(protocol, tls, **script) as listener:  # type: ignore[arg-type]
        site.serves(1, listener)
        [found] = findings(site.run("listeners"))
    assert (found.severity, found.kind, found.subject) == (severity, kind, "listen[2]")
    assert text in found.text


def test_a_listener_for_metrics(site: DoctorSite) -> None:
    with ScriptedListener("metrics", greeting="HTTP/1.0 200 OK") as listener:
        site.serves(1, listener)
        assert findings(site.run("listeners")) == []


def test_a_closed_port(site: DoctorSite) -> None:
    with ScriptedListener("smtp") as listener:
        site.serves(0, listener)
    [found] = findings(site.run("listeners"))
    assert (found.severity, found.kind, found.subject) == ("error", "port-closed", "listen[1]")
    assert "refused" in found.text


def test_a_listener_with_an_old_certificate(site: DoctorSite) -> None:
    with ScriptedListener("pop3", "implicit", site.template.authority.issue(HOSTNAME)) as listener:
        site.serves(2, listener)
        assert outline(site.run("listeners")) == [("warning", "port-other-certificate", "listen[3]")]


def test_a_listener_behind_a_proxy_gets_a_header(site: DoctorSite) -> None:
    site.configure(
        '[[listen]]\nprotocol = "smtp"\nendpoint = "tcp:25"\nproxies = ["127.0.0.1"]\n'
        '[[listen]]\nprotocol = "pop3"\nendpoint = "tcp:110"'
    )
    with ScriptedListener("smtp") as listener:
        site.serves(0, listener)
        assert outline(site.run("listeners")) == []
        assert listener.seen == ["PROXY UNKNOWN", "QUIT"]


def test_a_port_of_another_program(site: DoctorSite) -> None:
    site.server = None
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        site.configure(f'[[listen]]\nprotocol = "smtp"\nendpoint = "tcp:{port}:interface=127.0.0.1"')
        results = site.run("listeners")
    [found] = findings(results)
    assert (found.severity, found.kind, found.subject) == ("error", "port-taken", "listen[1].endpoint")
    assert str(port) in found.mend
    assert NotChecked("listeners", "no server runs") in results


# ------------------------------------------------------------ the self-test for an open relay


def test_an_open_relay_is_found_in_a_session(site: DoctorSite) -> None:
    with ScriptedListener("smtp", replies={"RCPT": "250 welcome"}) as listener:
        site.serves(0, listener)
        results = site.run("open relay")
    [found] = findings(results)
    assert (found.severity, found.kind, found.subject) == ("error", "open-relay", "listen[1]")
    assert "from <relay-test@sender.invalid> to <relay-test@target.invalid>" in found.text
    [note] = [one for one in results if isinstance(one, DoctorNote)]
    assert note.text.startswith(f"open relay: tested in a session from {ADDRESS} with 127.0.0.1:")
    assert (
        "MAIL FROM:<>" in listener.seen and "RCPT TO:<relay-test%target.invalid@example.org>" in listener.seen
    )


def test_names_that_a_catch_all_takes_are_not_relayed(site: DoctorSite) -> None:
    site.configure('[catch_all]\n"example.org" = "alice"')
    # the forms of a name at this domain
    with ScriptedListener("smtp", replies={"RCPT": "550 no"}) as listener:
        site.serves(0, listener)
        assert findings(site.run("open relay")) == []


@pytest.mark.parametrize(("networks", "kinds"), [("10.0.0.0/8", []), ("192.0.2.0/24", ["open-relay"])])
def test_the_rules_are_asked_where_no_stranger_can_connect(
    site: DoctorSite, networks: str, kinds: list[str]
) -> None:
    site.configure(f'[relay]\nnetworks = ["127.0.0.0/8", "{networks}"]')
    results = site.run("open relay")
    assert [one.kind for one in findings(results)] == kinds
    assert any(isinstance(one, DoctorNote) and "tested by the rules" in one.text for one in results)


def test_a_session_that_fails_is_told(site: DoctorSite) -> None:
    with ScriptedListener("smtp", greeting="554 go away") as listener:
        site.serves(0, listener)
        [first, *_] = site.run("open relay")
    assert isinstance(first, NotChecked) and "554 go away" in first.reason
