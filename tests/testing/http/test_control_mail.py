"""Messages, mailboxes, sessions, accounts, relaying, time, other servers, reset: by HTTP."""

import poplib
import smtplib
import ssl
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fixture_api import Api

RAW = b"From: a@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHi\r\n"


def test_a_message_and_its_session(api: Api) -> None:
    api.send()
    message = api("GET", "/messages/wait", to="bob@example.test", subject="Res", text_regex=r"CODE is \d+")
    assert message["links"] == ["https://shop.example.test/reset/abc"]
    assert message["mailbox"] == "bob@example.test" and message["in_mailbox"]
    assert (message["sender"], message["recipients"]) == ("shop@example.test", ["bob@example.test"])
    assert {"name": "Subject", "value": "Reset"} in message["headers"]
    assert [each["filename"] for each in message["attachments"]] == ["a.png"]
    path = f"/messages/{message['id']}"
    assert api("GET", path) == message
    assert api("GET", f"{path}/attachments/1") == b"\x00\x01"
    assert api("GET", f"{path}/raw").endswith(b"--\r\n")
    assert api("GET", f"{path}/link", part="/reset/") == {"link": message["links"][0]}
    assert api("GET", f"{path}/code") == {"code": "123456"}
    assert api("GET", f"{path}/code", pattern=r"is (\d{3})") == {"code": "123"}
    assert "no code" in api.problem(404, "GET", f"{path}/code", pattern="x{9}")["detail"]
    assert "/reset/abc" in api.problem(404, "GET", f"{path}/link", part="/other/")["detail"]
    assert "the message has 1" in api.problem(404, "GET", f"{path}/attachments/2")["detail"]
    session = api("GET", f"/sessions/{message['session']}")
    assert session["protocol"] == "smtp" and session["commands"][-1] == "QUIT"
    assert session["verbs"] == {"EHLO": 1, "MAIL": 1, "RCPT": 1, "DATA": 1, "QUIT": 1}
    entries = api("GET", f"/sessions/{message['session']}/transcript")["entries"]
    assert {entry["who"] for entry in entries} == {"client", "server", "event"}
    assert b"S: 221" in api("GET", f"/sessions/{message['session']}/transcript.txt")
    assert message["id"].encode() in api("GET", f"/sessions/{message['session']}/transcript.txt")


def test_copies_have_ids_and_an_order(api: Api) -> None:
    with smtplib.SMTP("127.0.0.1", api.ports()["smtp"]) as smtp:
        smtp.sendmail("a@example.test", ["bob@example.test", "eve@example.test"], RAW)
    found = api("GET", "/messages/wait-for-count", count=2)["messages"]
    first = found[0]["queue_id"]
    assert [(each["id"], each["queue_id"]) for each in found] == [(first, first), (f"{first}.2", first)]
    assert api("GET", "/messages/wait") == api("GET", "/messages/wait") == found[0]
    assert api("GET", "/messages/wait", after=found[0]["id"]) == found[1]
    assert api("GET", "/messages", after=found[1]["id"]) == {"messages": []}
    assert "too many: 2 of 1" in api.problem(409, "GET", "/messages/wait-for-count", count=1)["detail"]
    assert "no message" in api.problem(404, "GET", "/messages", after="x")["detail"]
    assert [api("GET", f"/messages/{each['id']}")["mailbox"] for each in found] == [
        "bob@example.test",
        "eve@example.test",
    ]


PIECES = (
    b"Subject: =?utf-8?q?=ff?=\r\n",
    b"Subject: \xff\xfe\r\n",
    b"From: <\r\n",
    b"Content-Type: multipart/mixed\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: text/html; charset=none\r\n",
    b"Content-Disposition: attachment; filename*=utf-8''%FF\r\n",
    b"\r\n",
    b"--b\r\n",
    b"--b--\r\n",
    b"<a href='http://x/\xff'>\r\n",
    b"\x00\xff\r\n",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=8))
def test_any_octets_have_a_view(api: Api, pieces: list[bytes]) -> None:
    id = api("POST", "/messages", b"".join(pieces), to="bob@example.test")["id"]
    message = api("GET", f"/messages/{id}")
    for each in message["attachments"]:
        assert len(api("GET", f"/messages/{id}/attachments/{each['number']}")) == each["size"]


def test_delivered_vanished_and_renamed(api: Api) -> None:
    message = api("POST", "/messages", RAW, to="bob@example.test")
    assert (message["subject"], message["session"]) == ("Grüße", None)
    assert api("GET", "/mailboxes") == {
        "mailboxes": [{"address": "bob@example.test", "messages": [message["id"]]}]
    }

    def uidls() -> list[bytes]:
        pop3 = poplib.POP3("127.0.0.1", api.ports()["pop3"])
        pop3.user("bob@example.test")
        pop3.pass_("secret")
        found = pop3.uidl()[1]
        pop3.quit()
        return found

    before = uidls()
    api("POST", "/mailboxes/bob@example.test/reset-uidls")
    assert uidls() != before
    api("DELETE", f"/messages/{message['id']}")
    assert uidls() == []
    assert api("GET", "/mailboxes") == {"mailboxes": []}
    assert api("GET", f"/messages/{message['id']}") == {**message, "in_mailbox": False}
    assert api("GET", "/sessions/wait", protocol="pop3", account="bob@example.test")["closed"]
    assert len(api("GET", "/sessions", protocol="pop3", closed="true")["sessions"]) == 3
    assert api("GET", "/sessions", protocol="smtp") == {"sessions": []}


@pytest.mark.parametrize(
    "request_, status, detail",
    [
        (("GET", "/messages/wait", {"timeout": 0.01}), 404, "no message with any content within 0.01 s."),
        (("GET", "/messages/wait-for-count", {"count": 3, "timeout": 0}), 404, "1 of 3 messages"),
        (("GET", "/messages/none", {}), 409, "There is a message that matches: "),
        (("GET", "/sessions/wait", {"timeout": 0}), 404, "no session with closed=True within 0 s."),
        (("GET", "/messages/nothing", {}), 404, 'There is no message "nothing".'),
        (("GET", "/sessions/nothing", {}), 404, 'There is no session "nothing".'),
        (("GET", "/messages", {"sbject": "a"}), 422, 'did you mean "subject"?'),
        (("GET", "/messages", {"to": "a", "to_regex": "b"}), 422, "exclude each other."),
        (("GET", "/messages", {"to_regex": "("}), 422, "no regular expression: "),
        (("GET", "/messages/wait", {"timeout": 1000}), 422, "expected a number from 0 to 600."),
        (("GET", "/messages/wait-for-count", {}), 422, 'The query needs "count".'),
        (("POST", "/messages", {"to": "@"}), 422, '"to": '),
        (("POST", "/mailboxes/@/reset-uidls", {}), 422, "The mailbox: "),
        (("GET", "/nothing", {}), 404, "openapi.json"),
        (("PUT", "/messages", {}), 405, "PUT is not possible here; allowed: GET, POST."),
        (("GET", "/servers/7/server", {}), 404, 'There is no server "7".'),
        (("DELETE", "/servers/default", {}), 409, "The first server runs as long as the program."),
    ],
)
def test_problems(api: Api, request_: tuple[str, str, Any], status: int, detail: str) -> None:
    method, path, query = request_
    if "none" in path or "count" in path:
        api("POST", "/messages", RAW, to="bob@example.test")
    assert detail in api.problem(status, method, path, None, **query)["detail"]


def test_waiting_does_not_block_others(api: Api) -> None:
    found: list[Any] = []

    def wait(path: str, query: dict[str, str]) -> None:
        found.append(api("GET", path, **query, timeout=30))

    waiting = [
        threading.Thread(target=wait, args=each)
        for each in (("/messages/wait", {"subject": "Late"}), ("/sessions/wait", {"protocol": "smtp"}))
    ]
    for thread in waiting:
        thread.start()
    api("GET", "/messages/none", within=0.05)
    assert found == []
    api.send("Late")
    for thread in waiting:
        thread.join()
    assert len(found) == 2
    assert "There is a message" in api.problem(409, "GET", "/messages/none", within=30)["detail"]


def test_relaying_accounts_and_time(api: Api) -> None:
    made = api("POST", "/servers", {"accept": "relay", "queue": {"retry": ["1h"]}})
    other = Api(f"{api.base}/servers/{made['id']}")
    assert made["settings"]["queue"] == {"retry": ["1h"]}
    assert other("POST", "/accounts", {"address": "bob", "password": "x"}) == {"address": "bob@example.test"}
    assert "The account: " in other.problem(422, "POST", "/accounts", {"address": "@"})["detail"]
    reply = {"code": 451, "text": "later", "to": "far.test", "times": 1}
    assert other("POST", "/relay/replies", reply)["replies"][0]["enhanced"] == "4.0.0"
    assert "400 to 599" in other.problem(422, "POST", "/relay/replies", {"code": 200})["detail"]
    other.send(to="carol@far.test")
    other.send(to="bob@example.test")
    other("GET", "/messages/wait", to="bob@example.test")
    assert other("GET", "/outbox") == {"messages": []}
    before = other("GET", "/clock")["seconds"]
    assert other("POST", "/clock/advance", {"duration": "2h"})["seconds"] - before >= 7200
    relayed = other("GET", "/messages/wait", to="carol@far.test")
    assert relayed["id"] == f"{relayed['queue_id']}.out" and relayed["mailbox"] is None
    assert other("GET", "/outbox") == {"messages": [relayed]}
    assert other("GET", f"/messages/{relayed['queue_id']}") == relayed
    assert "relayed" in other.problem(409, "DELETE", f"/messages/{relayed['id']}")["detail"]
    assert other("GET", "/relay/replies")["replies"][0]["times"] == 0
    other("DELETE", "/relay/replies")
    assert other("GET", "/relay/replies") == {"replies": []}
    # the two servers know nothing of each other
    assert api("GET", "/messages") == {"messages": []}
    assert [each["id"] for each in api("GET", "/servers")["servers"]] == ["default", made["id"]]
    api("DELETE", f"/servers/{made['id']}")
    other_port = made["listeners"][0]["port"]
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", other_port)


@pytest.mark.parametrize(
    "settings,status,detail",
    [
        ({"acept": "any"}, 422, 'did you mean "accept"?'),
        ({"accept": "some"}, 422, "allowed: any, accounts, relay"),
        ({"tls": "broken"}, 422, "allowed: True, False, expired"),
        ({"tls": 1}, 422, "expected true, false, or the name of a fault."),
        ({"profile": "gmial"}, 422, 'did you mean "gmail"?'),
        ({"smtp": {"max_recipient": 1}}, 422, 'did you mean "max_recipients"?'),
        ({"ports": {"imap": 1}}, 422, "no listener 'imap'"),
    ],
)
def test_wrong_settings(api: Api, settings: dict[str, Any], status: int, detail: str) -> None:
    assert detail in api.problem(status, "POST", "/servers", settings)["detail"]


def test_faults_of_tls_and_taken_ports(api: Api) -> None:
    taken = {"smtp": api.ports()["smtp"]}
    assert "cannot listen on" in api.problem(409, "POST", "/servers", {"ports": taken})["detail"]
    made = api("POST", "/servers", {"tls": "expired", "profile": "gmail"})
    pem = api("GET", "/ca.pem").decode()
    ports = {each["name"]: each["port"] for each in made["listeners"]}
    context = ssl.create_default_context(cadata=pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        smtplib.SMTP_SSL("127.0.0.1", ports["smtps"], context=context)
    smtplib.SMTP_SSL("127.0.0.1", api.ports()["smtps"], context=context).quit()
    stalled = Api(f"{api.base}/servers/{api('POST', '/servers', {'tls': 'stalled'})['id']}")
    rules = stalled("GET", "/rules")["rules"]
    assert len(rules) == 2 and all(each["rule"] is None for each in rules)


def test_a_reset_forgets_everything_but_the_ports(api: Api) -> None:
    before = api("GET", "/server")
    api("POST", "/rules", {"protocol": "smtp", "on": "NOOP", "acts": ["close"]})
    api.send()
    api("POST", "/clock/advance", {"duration": "1h"})
    assert api("POST", "/reset") == before
    assert api("GET", "/messages") == {"messages": []}
    assert api("GET", "/rules") == {"rules": []}
    assert api("GET", "/sessions") == {"sessions": []}
    assert b"messages: none" in api("GET", "/report")
    api.send()
    assert api("GET", "/messages/wait", subject="Reset")
