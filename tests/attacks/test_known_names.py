"""Known and unknown names: the same steps are done for both, so that no clock tells them apart."""

import gc
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from mailserver.accounts.credentials import SCRAM_ITERATIONS, SCRAM_SALT
from mailserver.accounts.directory import AppPassword, app_password_digest
from mailserver.sasl.scram import derive_keys
from tests.support.accounts.people import HASHED, account
from tests.support.attacks.real_accounts import put_behind
from tests.support.net.fakes import LOST, POP3Port, SMTPPort, connect
from tests.support.runs import rest_slow
from tests.support.sasl.client import log_in

KEYS = {
    name: derive_keys("wonderland", name, bytes(SCRAM_SALT), SCRAM_ITERATIONS) for name in ("sha1", "sha256")
}
APP = AppPassword("phone", app_password_digest("abcd-efgh"))
PEOPLE = [
    account("known", HASHED, secret="wonderland", scram=KEYS, app_passwords=(APP,)),
    account("plain", "wonderland"),
    account("roman", "\u2168 lives"),
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


def attempt(ask: Callable[[bytes], bytes], mechanism: str, name: bytes, greeting: bytes) -> None:
    """A login with a wrong password."""
    match mechanism:
        case "USER":
            ask(b"USER " + name)
            ask(b"PASS wrong")
        case "APOP":
            timestamp = greeting[greeting.index(b"<") :].strip()
            ask(b"APOP " + name + b" " + hashlib.md5(timestamp + b"wrong").hexdigest().encode())
        case _:
            log_in(ask, mechanism, name, b"wrong")


def once(port: SMTPPort | POP3Port, mechanism: str, name: str) -> list[object]:
    """The steps of an attempt, and what is answered."""
    connection, wire = connect(port.factory)
    greeting = wire.said()
    connection.dataReceived(port.hello)
    wire.said()
    answers: list[bytes] = []

    def ask(line: bytes) -> bytes:
        connection.dataReceived(line + b"\r\n")
        answers.append(wire.said())
        return answers[-1].removesuffix(b"\r\n")

    with steps() as called:
        attempt(ask, mechanism, name.encode(), greeting)
    connection.connectionLost(LOST)
    *challenges, last = answers
    assert last.startswith((b"535 5.7.8 ", b"-ERR [AUTH] "))
    # a challenge has salt and nonce of its own, for everybody; its length tells no more than the name's
    return [Counter(called) if mechanism in BY_PASSWORD else called, *map(len, challenges), last]


def course(mechanism: str, kind: Kind, name: str) -> list[object]:
    """An attempt, and the same once more, when something is remembered.

    Steps in their order, but for passwords: of them an account's own is verified first.
    """
    port = kind(settings={"mechanisms": MECHANISMS, "max_login_failures": 0})
    put_behind(PEOPLE, port, remember=300)
    return [*once(port, mechanism, name), *once(port, mechanism, name)]


WAYS = [
    *((SMTPPort, name) for name in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1")),
    *((POP3Port, name) for name in ("USER", "APOP", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256")),
]


@pytest.mark.parametrize(("kind", "mechanism"), WAYS)
@pytest.mark.parametrize("spelling", rest_slow(["{}@EXAMPLE.org", "{}", "{}@example.org"]))
def test_the_same_steps_for_every_name(kind: Kind, mechanism: str, spelling: str) -> None:
    course(mechanism, kind, spelling.format("warm"))  # what is done once in a process, and for a domain
    unknown = course(mechanism, kind, spelling.format(UNKNOWN))
    for name in [*(one.address.local for one in PEOPLE), "other"]:
        assert course(mechanism, kind, spelling.format(name)) == unknown, name


@pytest.mark.parametrize(("kind", "mechanism"), WAYS)
@pytest.mark.parametrize(
    "unknown", ["known@elsewhere.example", "known+x@example.org", "nobody@example.org", "nobody"]
)
def test_what_looks_like_a_known_name_is_none(kind: Kind, mechanism: str, unknown: str) -> None:
    for name in ("warm", "warm@example.org", "warm@elsewhere.example"):
        course(mechanism, kind, name)
    known = "known@example.org" if "@" in unknown else "known"
    assert course(mechanism, kind, known) == course(mechanism, kind, unknown)
