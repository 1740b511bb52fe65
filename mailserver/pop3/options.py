"""What steers the sessions of a listener for POP3."""

import attrs

from mailserver.config.keys.pop3 import Pop3Section


def _without_brackets(name: str) -> str:
    return name.strip("[]")


@attrs.frozen
class POP3Options(Pop3Section):
    """The keys of the section [pop3], and what else is known of a listener.

    ``hostname`` is in the greeting and the farewell; it is written without the brackets of an address
    literal, for a text that begins with one would be a response code (RFC 2449 section 8). CAPA tells
    ``version``, if there is one, after the login. ``starttls`` says whether a client can start TLS.
    ``mechanisms`` are those for AUTH, and APOP; without TLS only APOP is possible unless
    ``plaintext_auth``. After ``max_login_failures`` wrong passwords, or ``max_errors`` commands in a row
    with wrong syntax, the connection is closed; 0 means never.
    """

    hostname: str = attrs.field(converter=_without_brackets)
    version: str = ""
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    max_login_failures: int = 3
    max_errors: int = 10
