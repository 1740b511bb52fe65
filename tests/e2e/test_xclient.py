"""XCLIENT with a real program: swaks is the proxy."""

from pathlib import Path

from tests.support.e2e.clients import swaks
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import Makes, configuration

ATTRIBUTES = ("--xclient-addr", "192.0.2.7", "--xclient-name", "spike.example", "--xclient-helo", "spike")
TABLES = "[smtp]\nxclient_networks = ['%s']\n[relay]\nnetworks = ['127.0.0.0/8']\n"


def test_swaks(tmp_path: Path, make_server: Makes) -> None:
    """The client counts, and not the proxy, which might relay."""
    server = make_server(configuration(tables=TABLES % "127.0.0.1")).start()
    alice = Mailbox(server, "alice")
    swaks(tmp_path, alice, "", "", *ATTRIBUTES, sender="a@b.example").check(0)
    [stored] = alice.messages()
    assert b"([192.0.2.7])" in stored and b"127.0.0.1" not in stored
    assert "proxy 127.0.0.1 speaks for 192.0.2.7" in server.log
    ran = swaks(tmp_path, alice, "", "", *ATTRIBUTES, sender="a@b.example", to="x@elsewhere.example")
    assert "550 5.7.1" in ran.said
    # An account that has logged in at the proxy may relay, under its own address.
    login = (*ATTRIBUTES, "--xclient-login", "alice", "--quit-after", "RCPT")
    swaks(tmp_path, alice, "", "", *login, to="x@elsewhere.example").check(0)
    ran = swaks(tmp_path, alice, "", "", *login, sender="bob@example.org", to="x@elsewhere.example")
    assert "553 5.7.1" in ran.said
    server.check_log()


def test_a_proxy_that_is_not_trusted(tmp_path: Path, make_server: Makes) -> None:
    server = make_server(configuration(tables=TABLES % "192.0.2.0/24")).start()
    ran = swaks(tmp_path, Mailbox(server, "alice"), "", "", *ATTRIBUTES, sender="a@b.example")
    assert ran.status != 0 and "XCLIENT" not in server.log
