"""Rules, capabilities and listening by HTTP; the effect is seen by a client of mail."""

import poplib
import smtplib
import socket
from typing import Any

import pytest

from mailserver.faults.acts import DRIP_INTERVAL
from mailserver.testing.http.rules import ACTS
from tests.support.fixture_api import Api

BUSY = {"reply": [451, "4.2.1", "busy"]}
RCPT = {"protocol": "smtp", "on": "RCPT", "acts": [BUSY]}


def test_a_busy_server(api: Api) -> None:
    made = api("POST", "/rules", {**RCPT, "argument": "BOB@", "times": 1})
    assert made["rule"]["argument"] == "BOB@"
    assert (made["fired"], made["seen"]) == (0, 0)
    assert api("GET", "/rules", never_fired="true") == {"rules": [made]}
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="busy"):
        api.send()
    api.send(to="carol@example.test")
    api.send()
    again = api("GET", f"/rules/{made['id']}")
    assert (again["fired"], again["seen"]) == (1, 2)
    assert api("GET", "/rules", never_fired="true") == {"rules": []}
    assert api("GET", "/rules", never_fired="false") == {"rules": [again]}
    api("DELETE", f"/rules/{made['id']}")
    assert api("GET", "/rules") == {"rules": []}
    api.problem(404, "GET", f"/rules/{made['id']}")


# An argument of each act that has one.
ARGUMENTS: dict[str, Any] = {
    "reply": [250, "Ok", "two"],
    "extra": [250],
    "raw": "250 é\r\n",
    "raw_base64": "MjUwIE9rDQo=",
    "delay": "0.01s",
    "drip": int(50 / DRIP_INTERVAL),
    "truncate": 3,
    "corrupt": 2,
    "garbage": 20,
    "lie": -5,
}


@pytest.mark.parametrize("name", ACTS)
def test_each_act_makes_a_rule(api: Api, name: str) -> None:
    on = {"lie": "STAT", "cut": "tls", "locked": "PASS"}.get(name, "NOOP")
    protocol = "pop3" if name in ("lie", "locked") else "smtp"
    act = {name: ARGUMENTS[name]} if name in ARGUMENTS else name
    api("POST", "/rules", {"protocol": protocol, "on": on, "acts": [act], "optional": True})
    if ACTS[name].bare:
        api("POST", "/rules", {"protocol": protocol, "on": on, "acts": [name]})
    assert len(api("GET", "/rules")["rules"]) == 1 + ACTS[name].bare


@pytest.mark.parametrize(
    "acts,said",
    [
        ([{"reply": [250, "2.0.0", "one", "two"]}], b"250-2.0.0 one\r\n250 2.0.0 two\r\n"),
        ([{"raw": "250 é\r\n"}], "250 é\r\n".encode()),
        ([{"raw_base64": "/wD+"}, "close"], b"\xff\x00\xfe"),
        ([{"extra": [220, "more"]}], b"250 2.0.0 Ok\r\n220 more\r\n"),
        (["silence", "close"], b""),
        ([{"truncate": 3}, "close"], b"250"),
    ],
)
def test_acts_have_their_effect(api: Api, acts: list[Any], said: bytes) -> None:
    api("POST", "/rules", {"protocol": "smtp", "on": "NOOP", "acts": acts})
    with socket.create_connection(("127.0.0.1", api.ports()["smtp"]), timeout=30) as client:
        client.recv(1000)
        client.sendall(b"NOOP\r\n")
        got = b""
        while len(got) < len(said) or not said:
            if not (more := client.recv(1000)):
                break
            got += more
        assert got == said


def test_conditions(api: Api) -> None:
    conditions = {
        **{"at": None, "times": 2, "after": 1, "every": 2, "account": "bob", "session": 3},
        **{"above": {"count": 10, "per": "1m"}, "chance": 0.5, "optional": True},
    }
    given = {name: value for name, value in {**RCPT, **conditions}.items() if value is not None}
    api("POST", "/rules", given)
    assert api("GET", "/rules", never_fired="true") == {"rules": []}
    api("DELETE", "/rules")
    api("POST", "/rules", {**RCPT, "above": {"count": 1, "per": "1h"}})
    api.send()
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        api.send()
    api("POST", "/clock/advance", {"duration": "1h"})
    api.send()
    api("DELETE", "/rules")
    api("POST", "/rules", {"protocol": "smtp", "on": "DATA", "at": 100, "acts": ["reset"]})
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        api.send()


@pytest.mark.parametrize(
    "change,detail",
    [
        ({"acts": None, "actz": ["close"]}, 'The body has no "actz"; did you mean "acts"?'),
        ({"xyzzy": 1}, 'The body has no "xyzzy"; allowed: protocol, on, argument, at, acts, '),
        ({"on": None}, 'The body needs "on".'),
        ({"protocol": "imap"}, "expected one of smtp, pop3."),
        ({"on": "no such moment"}, 'no moment "NO SUCH MOMENT"; allowed: "ATRN", '),
        ({"on": "stored", "protocol": "pop3"}, 'pop3 has no moment "stored".'),
        ({"argument": "("}, '"argument": no regular expression: '),
        ({"acts": []}, "expected an array of acts"),
        ({"acts": ["explode"]}, 'no act "explode"; allowed: reply, '),
        ({"acts": [{"rply": [451]}]}, 'no act "rply"; did you mean "reply"?'),
        ({"acts": [{"close": 1}]}, 'the act "close" has no argument.'),
        ({"acts": ["delay"]}, 'the act "delay" needs an argument.'),
        ({"acts": [{"delay": "soon"}]}, 'the act "delay": '),
        ({"acts": [{"delay": -1}]}, 'the act "delay": '),
        ({"acts": [{"delay": True}]}, 'the act "delay": expected seconds'),
        ({"acts": [{"reply": "451"}]}, 'the act "reply": expected an array'),
        ({"acts": [{"reply": [99]}]}, "SMTP has no reply code 99"),
        ({"acts": [{"raw_base64": "?"}]}, "expected Base64."),
        ({"acts": [{"raw": "\ud800"}]}, 'the act "raw": expected a string.'),
        ({"account": "\udfff"}, '"account": expected a string.'),
        ({"acts": [{"a": 1, "b": 2}]}, "an act is a string, or an object with one member"),
        ({"acts": [7]}, "an act is a string"),
        ({"acts": ["cut"]}, "a TLS handshake can be cut only at"),
        ({"acts": ["close", "silence"]}, "nothing can follow an act that ends the session."),
        ({"times": 0}, '"times": expected a whole number from 1.'),
        ({"above": {"count": 1, "per": "soon"}}, '"per": '),
        ({"acts": [{"drip": 0}]}, "expected a number from 0.001"),
        ({"times": True}, '"times": expected a whole number from 1.'),
        ({"chance": 2}, "expected a number from 0 to 1."),
        ({"above": {"count": 1}}, 'needs "per".'),
        ({"above": {"count": 1, "pre": 1}}, 'did you mean "per"?'),
        ({"optional": "yes"}, "expected true or false."),
    ],
)
def test_wrong_rules_are_told_in_a_sentence(api: Api, change: dict[str, Any], detail: str) -> None:
    rule = {name: value for name, value in {**RCPT, **change}.items() if value is not None}
    assert detail in api.problem(422, "POST", "/rules", rule)["detail"]
    assert api("GET", "/rules") == {"rules": []}


def test_capabilities_and_listening(api: Api) -> None:
    changed = api("PATCH", "/protocols/smtp", {"hidden": ["starttls"], "invented": ["XFOO 1"]})
    assert changed == {"hidden": ["STARTTLS"], "invented": ["XFOO 1"], "listening": True}
    wrong = api.problem(422, "PATCH", "/protocols/smtp", {"hidden": ["START-TLS"]})
    assert 'did you mean "STARTTLS"' in wrong["detail"]
    assert api("GET", "/protocols/smtp") == changed
    with smtplib.SMTP("127.0.0.1", api.ports()["smtp"]) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("xfoo") and not smtp.has_extn("starttls")
    port = api.ports()["pop3"]
    assert api("PATCH", "/protocols/pop3", {"listening": False})["listening"] is False
    with pytest.raises(ConnectionRefusedError):
        poplib.POP3("127.0.0.1", port)
    assert api("GET", "/protocols/smtp") == changed
    assert api("PATCH", "/protocols/pop3", {"listening": True})["listening"] is True
    poplib.POP3("127.0.0.1", port).quit()
    for wrong in ({"invented": "XFOO"}, {"invented": [1]}, {"hidden": ["\ud800"]}, {"listening": 1}):
        assert "expected" in api.problem(422, "PATCH", "/protocols/smtp", wrong)["detail"]
    assert "allowed: smtp, pop3" in api.problem(404, "GET", "/protocols/imap")["detail"]
