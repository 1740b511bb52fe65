"""Known and unknown names: the same steps are done for both, so that no clock tells them apart."""

import base64
import gc
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT
from mailserver.accounts.directory import AppPassword, app_password_digest
from mailserver.sasl.scram import derive_keys
from tests.support.accounts.people import HASHED, account
from tests.support.attacks.real_accounts import put_behind
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, connect

KEYS = {
    name: derive_keys("wonderland", name, bytes(SCRAM_SALT), SCRAM_ITERATIONS) for name in ("sha1", "sha256")
}
APP = AppPassword("phone", app_password_digest("abcd-efgh"))
PEOPLE = [
    account("known", HASHED, secret="wonderland", scram=KEYS, app_passwords=(APP,)),
    account("plain", "wonderland"),
    account("keyless", HASHED),
    account("nopass"),
    account("nonep", "{NONE}"),
    account("off", HASHED, secret="wonderland", scram=KEYS, disabled=True),
]  # fmt: skip
UNKNOWN = "nobody"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "APOP")
BY_PASSWORD = ("PLAIN", "LOGIN", "USER")
Kind = type[SMTPPort] | type[POP3Port]


@contextmanager
def steps() -> Iterator[list[str]]:
    """The functions that are called, in order."""
    found: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            found.append(f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}")

    before = sys.getprofile()
    gc.disable()  # what it does it would do at any moment
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)
        gc.enable()


def lines(mechanism: str, name: str, greeting: bytes) -> list[bytes]:
    """What a client says that does not have the password."""
    given = name.encode()
    match mechanism:
        case "USER":
            return [b"USER " + given, b"PASS wrong"]
        case "APOP":
            timestamp = greeting[greeting.index(b"<") :].strip()
            return [b"APOP " + given + b" " + hashlib.md5(timestamp + b"wrong").hexdigest().encode()]
        case "PLAIN":
            return [b"AUTH PLAIN " + base64.b64encode(b"\0" + given + b"\0wrong")]
        case "LOGIN":
            return [b"AUTH LOGIN " + base64.b64encode(given), base64.b64encode(b"wrong")]
        case "CRAM-MD5":
            return [b"AUTH CRAM-MD5", base64.b64encode(given + b" " + b"0" * 32)]
        case _:
            return [b"AUTH " + mechanism.encode() + b" " + base64.b64encode(b"n,,n=" + given + b",r=abc")]


def course(mechanism: str, kind: Kind, name: str) -> list[object]:
    """The steps of an attempt, and of the same once more, when something is remembered.

    In their order, but for passwords: of them an account's own is verified first.
    """
    port = kind(settings={"mechanisms": MECHANISMS, "max_login_failures": 0})
    put_behind(PEOPLE, port, remember=300)
    found: list[object] = []
    for _ in range(2):
        connection, wire = connect(port.factory)
        greeting = wire.said()
        connection.dataReceived(port.hello)
        said = lines(mechanism, name, greeting)
        with steps() as called:
            for line in said:
                connection.dataReceived(line + b"\r\n")
        found.append(Counter(called) if mechanism in BY_PASSWORD else called)
        connection.connectionLost(LOST)
    return found


WAYS = [
    *((SMTPPort, name) for name in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1")),
    *((POP3Port, name) for name in ("USER", "APOP", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256")),
]


@pytest.mark.parametrize(("kind", "mechanism"), WAYS)
@pytest.mark.parametrize("spelling", ["{}", "{}@example.org", "{}@EXAMPLE.org"])
def test_the_same_steps_for_every_name(kind: Kind, mechanism: str, spelling: str) -> None:
    course(mechanism, kind, "warm")  # what is done once in a process
    unknown = course(mechanism, kind, spelling.format(UNKNOWN))
    for name in [*(one.address.local for one in PEOPLE), "other"]:
        assert course(mechanism, kind, spelling.format(name)) == unknown, name


@pytest.mark.parametrize(("kind", "mechanism"), WAYS)
@pytest.mark.parametrize(
    "unknown", ["known@elsewhere.example", "known+x@example.org", "nobody@example.org", "nobody"]
)
def test_what_looks_like_a_known_name_is_none(kind: Kind, mechanism: str, unknown: str) -> None:
    course(mechanism, kind, "warm")
    known = "known@example.org" if "@" in unknown else "known"
    assert course(mechanism, kind, known) == course(mechanism, kind, unknown)
