"""What the administrator, and the connection's security, decide about POP3 sessions."""

import attrs


def _without_brackets(name: str) -> str:
    return name.strip("[]")


@attrs.frozen
class Settings:
    """Steers the sessions of a listener.

    ``hostname`` stands in the greeting and the farewell; the brackets of an address literal are
    left off there, for a text that begins with one would be a response code (RFC 2449 section 8).
    ``version`` is told in CAPA to those who have logged in, if it is given. ``starttls`` says whether
    TLS can be had, ``mechanisms`` are those for AUTH, and APOP; without TLS nobody logs in but by APOP,
    unless ``plaintext_auth``. ``login_delay`` is told in CAPA, in seconds.
    After ``max_login_failures`` wrong passwords, or ``max_errors``
    commands in a row that could not be understood, the session is closed; 0 means never.
    """

    hostname: str = attrs.field(converter=_without_brackets)
    version: str = ""
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    plaintext_auth: bool = False
    login_delay: int = 0
    max_login_failures: int = 3
    max_errors: int = 10
