"""The extensions that a server offers in its reply to EHLO or LHLO (RFC 5321 section 4.1.1.1)."""

import attrs


@attrs.frozen(kw_only=True)
class ServerExtensions:
    """The extensions that a session can use.

    ``size``: None if SIZE is not offered, 0 for no fixed limit, else the maximum octets of a message.
    ``auth`` has the mechanisms. ``max_recipients`` and ``max_mails`` are RCPTMAX and MAILMAX of LIMITS (RFC
    9422), None for no known limit.
    """

    pipelining: bool = False
    size: int | None = None
    eight_bit: bool = False
    utf8: bool = False
    chunking: bool = False
    dsn: bool = False
    start_tls: bool = False
    require_tls: bool = False
    auth: tuple[str, ...] = ()
    max_recipients: int | None = None
    max_mails: int | None = None
