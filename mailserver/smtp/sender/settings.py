"""The settings of a sending session, and the values that it gets for each message."""

import re
from typing import Literal

import attrs

from mailserver.sasl.client import ClientCredentials

# Nothing that could end a command and begin another one.
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")
_WORD = re.compile(r"[!-~]*")


def _is_word(instance: object, attribute: object, value: str) -> None:
    if value and not _WORD.fullmatch(value):
        raise ValueError(f"{value!r:.60} cannot be a parameter")


@attrs.frozen(kw_only=True)
class SenderSettings:
    """The settings of a session; sessions to the same server may share them.

    ``hostname`` is the argument of EHLO. ``start_tls``: the session uses STARTTLS never, if the server offers
    it, or always; a session that requires TLS ends without it, before it sends mail. Implicit TLS needs no
    setting: the caller begins it and calls ``tls_started``. ``credentials`` are for AUTH, None for no login.
    ``plaintext_auth``: mechanisms that send the password or the token itself may be used without TLS.
    """

    hostname: str
    protocol: Literal["smtp", "lmtp"] = "smtp"
    start_tls: Literal["never", "offered", "required"] = "offered"
    credentials: ClientCredentials | None = None
    plaintext_auth: bool = False


@attrs.frozen
class OutgoingRecipient:
    """A recipient of an outgoing message.

    ``notify`` and ``orcpt`` are the values of these parameters of RCPT (RFC 3461 section 4), "" for none.
    """

    address: str = attrs.field(validator=attrs.validators.matches_re(_LINE))
    notify: str = attrs.field(default="", validator=_is_word)
    orcpt: str = attrs.field(default="", validator=_is_word)


@attrs.frozen(kw_only=True)
class OutgoingMail:
    """The envelope of an outgoing message, and what must be known about its content.

    ``reverse_path`` is "" for the null reverse-path. ``size`` is the number of octets that will be written.
    ``eight_bit``: the content has octets outside ASCII. ``binary``: it may have bare line ends and NULs (RFC
    3030), which are sent as they are. ``utf8``: its header has characters outside ASCII, so
    that it needs SMTPUTF8 (RFC 6531) whatever its addresses are. ``require_tls``: REQUIRETLS (RFC 8689).
    ``priority`` is from -9 to 9 (RFC 6710). ``deadline`` has the seconds that are left for the delivery (RFC
    2852), None for no deadline; with ``returned`` the message is sent only if the server knows deadlines, and
    ``traced`` asks it for a report.
    ``ret`` and ``envid`` are the values of these parameters of MAIL (RFC 3461 section 4), "" for none.

    Raises ValueError if a value has a control character or cannot be encoded.
    """

    reverse_path: str = attrs.field(validator=attrs.validators.matches_re(_LINE))
    recipients: tuple[OutgoingRecipient, ...]
    size: int
    eight_bit: bool = False
    binary: bool = False
    utf8: bool = False
    require_tls: bool = False
    priority: int = 0
    deadline: int | None = None
    returned: bool = False
    traced: bool = False
    ret: str = attrs.field(default="", validator=_is_word)
    envid: str = attrs.field(default="", validator=_is_word)
