"""The options of the sessions of a listener for POP3."""

from collections.abc import Mapping

import attrs

from mailserver.config.keys.pop3 import Pop3Section
from mailserver.mail.retention import Retention, shortest


def _without_brackets(name: str) -> str:
    return name.strip("[]")


@attrs.frozen
class POP3Options(Pop3Section):
    """The keys of the section [pop3], and the options of the listener.

    ``hostname`` is in the greeting and the farewell, without the brackets of an address literal: a text that
    begins with a bracket would be a response code (RFC 2449 section 8). CAPA shows ``version`` after the
    login, unless it is empty. ``starttls``: a client can start TLS. ``mechanisms`` are those of AUTH, and
    APOP; without TLS only APOP is possible unless ``plaintext_auth``. After ``max_login_failures`` failed
    logins, or ``max_errors`` commands in a row with wrong syntax, the connection is closed; 0 means never.
    ``account_expire`` has the accounts whose retention is not ``expire``, by their addresses.
    """

    hostname: str = attrs.field(converter=_without_brackets)
    version: str = ""
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    max_login_failures: int = 3
    max_errors: int = 10
    account_expire: Mapping[str, Retention] = attrs.field(factory=dict)

    def retention(self, account: str) -> Retention:
        """How long the messages of an account stay."""
        return self.account_expire.get(account, self.expire)

    @property
    def least_retention(self) -> str:
        """The parameter of EXPIRE for all accounts (RFC 2449 section 6.7)."""
        least = shortest((self.expire, *self.account_expire.values()))
        differs = any(each != self.expire for each in self.account_expire.values())
        return f"{least} USER" if differs else str(least)
