"""What a SASL mechanism says while it runs, and what it is told.

A mechanism is a generator (see ``mechanisms``). It yields a :class:`Challenge` and is sent the client's
response, or it yields a question and is sent its answer, from wherever the accounts are; the answer
:class:`Denied`, which each question may have, is raised in it as :class:`LoginFailed`. It returns the
account that has logged in, or raises :class:`LoginFailed`.
"""

from collections.abc import Generator
from enum import Enum
from typing import Any

import attrs


@attrs.frozen
class Challenge:
    """Octets for the client; its response is sent back, both without their base64."""

    data: bytes


@attrs.frozen
class CheckPassword:
    """Does the password belong to the name? Answer: :class:`Granted` or :class:`Denied`.

    ``acting_as`` is the authorization identity, "" for that of the name itself (RFC 4616 section 2).
    """

    name: str
    password: str = attrs.field(repr=False)
    acting_as: str = ""


@attrs.frozen
class CheckToken:
    """Is the bearer token good (RFC 7628)? Answer: as for a password.

    ``name`` is whose the client says it is, "" if it does not say.
    """

    token: str = attrs.field(repr=False)
    name: str = ""


@attrs.frozen
class Admit:
    """Who this is has been proven: may the name log in? Answer: as for a password."""

    name: str
    acting_as: str = ""


@attrs.frozen
class AdmitVouched:
    """Somebody else vouches for these addresses, at least one: may one of them log in? Answer: as above.

    They are compared exactly. ``acting_as``, the client's own words, chooses among them; if it is "" the
    first counts.
    """

    addresses: tuple[str, ...]
    acting_as: str = ""

    @property
    def name(self) -> str:
        """Who the client says it is."""
        return self.acting_as or self.addresses[0]


@attrs.frozen
class FetchKeys:
    """What a SCRAM mechanism checks a proof with; ``hash_name`` is hashlib's. Answer: :class:`ScramKeys`.

    For a name that has none the answer looks the same, and no proof fits it (RFC 5802 section 5.1).
    """

    name: str
    hash_name: str


@attrs.frozen
class FetchSecret:
    """The password itself, for CRAM-MD5 and APOP. Answer: str, or None."""

    name: str


LoginQuestion = CheckPassword | CheckToken | Admit | AdmitVouched
"""The questions that end a login."""

Question = LoginQuestion | FetchKeys | FetchSecret


@attrs.frozen
class ScramKeys:
    """Keys of one account for one hash (RFC 5802 section 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


class Reason(Enum):
    """Why somebody is not logged in."""

    CREDENTIALS = "unknown name or wrong credentials"
    MALFORMED = "malformed response"
    TOO_LONG = "response too long"
    CANCELLED = "cancelled by the client"
    TEMPORARY = "the accounts are temporarily unavailable"

    @property
    def counts(self) -> bool:
        """Whether it is a failed login. A client that gives up, and trouble of the server, is none."""
        return self not in (Reason.CANCELLED, Reason.TEMPORARY)


@attrs.frozen
class Granted:
    """``account`` is the address of the account, in its normal form."""

    account: str


@attrs.frozen
class Denied:
    """Not logged in."""

    reason: Reason = Reason.CREDENTIALS


class LoginFailed(Exception):
    """Raised by a mechanism: nobody is logged in. Thrown into one to end it; it may catch it.

    ``name`` is who the client said it is, where no question has told it.
    """

    def __init__(self, reason: Reason, name: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.name = name


Steps = Generator[Challenge | Question, Any, str]
