"""Accounts that answer what SASL mechanisms ask, at once."""

import hashlib
from collections.abc import Mapping

import attrs

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
    ScramKeys,
)

ITERATIONS = 2  # proofs are checked by the thousand


def granted(account: str) -> Granted:
    """The address of the account, whatever it was called."""
    return Granted(account if "@" in account else f"{account}@example.org")


@attrs.frozen
class FakeAccounts:
    """``passwords`` by name. A token is good if it is "token-" and a name."""

    passwords: Mapping[str, str]

    def answer(self, question: Question) -> Granted | Denied | ScramKeys | str | None:
        match question:
            case CheckPassword(name, password, acting_as):
                right = self.passwords.get(name) == password and acting_as in ("", name)
                return granted(name) if right else Denied()
            case CheckToken(token):
                name = token.removeprefix("token-")
                return granted(name) if token == f"token-{name}" and name in self.passwords else Denied()
            case Admit(name, acting_as):
                right = name in self.passwords and acting_as in ("", name)
                return granted(name) if right else Denied()
            case AdmitVouched(addresses, acting_as):
                name = next((one for one in addresses if acting_as.casefold() in ("", one)), "")
                return granted(name) if name in self.passwords else Denied()
            case FetchKeys(name, hash_name):
                salt = hashlib.sha256(name.encode()).digest()[:16]
                password = self.passwords.get(name, "nobody has this one")
                return derive_keys(password, hash_name, salt, ITERATIONS)
            case FetchSecret(name):
                return self.passwords.get(name)
