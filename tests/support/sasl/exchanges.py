"""Accounts to ask, and a client that speaks in turn."""

import base64
from collections.abc import Iterable

import attrs

from mailserver.sasl.exchange import Exchange, ExchangeStep, Finished, Rejected, Send
from mailserver.sasl.mechanisms import MECHANISMS, Channel
from mailserver.sasl.scram import derive_keys
from mailserver.sasl.steps import (
    Admit,
    AdmitVouched,
    CheckPassword,
    CheckToken,
    Denied,
    FetchKeys,
    FetchSecret,
    Granted,
    Question,
    Reason,
    ScramKeys,
)

ITERATIONS = 4096
CREDENTIALS = Rejected(Reason.CREDENTIALS)
MALFORMED = Rejected(Reason.MALFORMED)


@attrs.define
class Accounts:
    """Answers all questions, and keeps them."""

    passwords: dict[str, str] = attrs.field(factory=dict)
    tokens: dict[str, str] = attrs.field(factory=dict)
    disabled: set[str] = attrs.field(factory=set)
    salt: bytes = b"a salt of sixteen"
    down: bool = False
    asked: list[Question] = attrs.field(factory=list)

    def answer(self, question: Question) -> Granted | Denied | ScramKeys | str | None:
        self.asked.append(question)
        if self.down:
            return Denied(Reason.TEMPORARY)
        match question:
            case CheckPassword(name, password, acting_as):
                right = self.passwords.get(name) == password
                return self._admit(name, acting_as) if right else Denied()
            case CheckToken(token, name):
                whose = self.tokens.get(token, "")
                return self._admit(whose, name) if whose else Denied()
            case Admit(name, acting_as):
                return self._admit(name, acting_as)
            case AdmitVouched(addresses, acting_as):
                return self._admit(addresses[0], acting_as)
            case FetchKeys(name, hash_name):
                keys = derive_keys(self.passwords.get(name, ""), hash_name, self.salt, ITERATIONS)
                no_key = bytes(len(keys.stored_key))
                return keys if name in self.passwords else attrs.evolve(keys, stored_key=no_key)
            case FetchSecret(name):
                return self.passwords.get(name)

    def _admit(self, name: str, acting_as: str) -> Granted | Denied:
        if name in self.passwords and name not in self.disabled and acting_as in ("", name):
            return Granted(f"{name}@example.org")
        return Denied()


def start(name: str, channel: Channel | None = None) -> Exchange:
    return Exchange(MECHANISMS[name], channel or Channel("mail.example.org"))


def settle(exchange: Exchange, outcome: ExchangeStep, accounts: Accounts) -> Send | Finished | Rejected:
    """Answer questions until it is the client's turn, or over."""
    while not isinstance(outcome, Send | Finished | Rejected):
        outcome = exchange.answer(accounts.answer(outcome))
    return outcome


def converse(
    exchange: Exchange, initial: bytes | None, responses: Iterable[bytes], accounts: Accounts
) -> tuple[list[bytes], Finished | Rejected | None]:
    """Say ``initial`` and ``responses``, encoded here; the challenges, decoded, and how it ended."""
    argument = None if initial is None else base64.b64encode(initial) or b"="
    outcome = settle(exchange, exchange.begin(argument), accounts)
    challenges = []
    for response in responses:
        if not isinstance(outcome, Send):
            raise AssertionError(f"{response!r} is left to be said, but it is over: {outcome}")
        challenges.append(base64.b64decode(outcome.line, validate=True))
        outcome = settle(exchange, exchange.line(base64.b64encode(response)), accounts)
    if isinstance(outcome, Send):
        return [*challenges, base64.b64decode(outcome.line, validate=True)], None
    return challenges, outcome
