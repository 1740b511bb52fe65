"""The options of the sessions of a listener for POP3."""

import attrs

from mailserver.config.keys.pop3 import Pop3Section


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
    """

    hostname: str = attrs.field(converter=_without_brackets)
    version: str = ""
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    max_login_failures: int = 3
    max_errors: int = 10
