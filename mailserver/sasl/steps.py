"""The values that a SASL mechanism yields and receives.

A mechanism is a generator (see ``mechanisms``). It yields a :class:`Challenge` and receives the response of
the client, or it yields a question and receives the answer of the accounts. Each question may have the
answer :class:`Denied`, which is thrown into the mechanism as :class:`LoginFailed`. A mechanism returns the
account that has logged in, or raises :class:`LoginFailed`.
"""

from collections.abc import Generator
from enum import Enum
from typing import Any

import attrs


@attrs.frozen
class Challenge:
    """Octets for the client, before base64. The mechanism receives the decoded response."""

    data: bytes


@attrs.frozen
class CheckPassword:
    """Is the password correct for the name? Answer: :class:`Granted` or :class:`Denied`.

    ``acting_as`` is the authorization identity, "" if it is the name itself (RFC 4616 section 2).
    """

    name: str
    password: str = attrs.field(repr=False)
    acting_as: str = ""


@attrs.frozen
class CheckToken:
    """Is the bearer token valid (RFC 7628)? Answer: :class:`Granted` or :class:`Denied`.

    ``name`` is the user name that the client gives, "" if it gives none.
    """

    token: str = attrs.field(repr=False)
    name: str = ""


@attrs.frozen
class Admit:
    """The mechanism has verified the name. May it log in? Answer: :class:`Granted` or :class:`Denied`."""

    name: str
    acting_as: str = ""


@attrs.frozen
class AdmitVouched:
    """A certificate has verified these addresses, at least one. May one of them log in? Answer:
    :class:`Granted` or :class:`Denied`.

    Addresses are compared exactly. ``acting_as``, which the client gives, selects one of them; if it is "",
    the first one is used.
    """

    addresses: tuple[str, ...]
    acting_as: str = ""

    @property
    def name(self) -> str:
        """The user name that the client gives."""
        return self.acting_as or self.addresses[0]


@attrs.frozen
class FetchKeys:
    """The keys to verify a SCRAM proof with. ``hash_name`` is that of hashlib. Answer: :class:`ScramKeys`.

    A name without keys gets an answer that looks the same, but no proof matches it (RFC 5802 section 5.1).
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
    """The reason of a failed login."""

    CREDENTIALS = "unknown name or wrong credentials"
    MALFORMED = "malformed response"
    TOO_LONG = "response too long"
    CANCELLED = "cancelled by the client"
    TEMPORARY = "the accounts are temporarily unavailable"

    @property
    def counts(self) -> bool:
        """Whether it counts as a failed login: not if the client cancels or the server has a problem."""
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
    """Raised by a mechanism if the login fails. Thrown into a mechanism to abort it; it may catch it.

    ``name`` is the user name that the client gave, if no question has it.
    """

    def __init__(self, reason: Reason, name: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.name = name


Steps = Generator[Challenge | Question, Any, str]
