"""The section [[listen]]: the ports."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.kinds import Context, ListOf
from mailserver.config.schema.mail_kinds import ENDPOINT, NETWORK, Network
from mailserver.config.schema.problems import KeyProblem
from mailserver.config.schema.scalars import Choice
from mailserver.config.schema.tables import key

Protocol = Literal["smtp", "submission", "lmtp", "pop3", "web", "metrics"]
TlsMode = Literal["none", "starttls", "implicit"]
_WITHOUT_STARTTLS = ("web", "metrics")


@attrs.frozen(kw_only=True)
class ListenSection:
    """One port."""

    protocol: Protocol = key(
        Choice[Protocol](get_args(Protocol)), "The protocol spoken there.", example="smtp"
    )
    endpoint: str = key(
        ENDPOINT,
        'Where to listen. "tcp:25" is IPv4 alone; "tcp6:25" takes IPv6 and, on Linux, IPv4, too. Port 0 '
        "chooses a free one and tells it in the ready file.",
        example="tcp:25",
    )
    tls: TlsMode = key(
        Choice[TlsMode](get_args(TlsMode)),
        'TLS on request, from the first octet, or not at all. Default: "starttls" with [tls], else "none"; '
        'always "none" for web and metrics, which know no STARTTLS.',
        default="none",
        compute=lambda listen: "none",
    )
    proxies: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Proxies and load balancers in front: a connection from one of these must begin with a PROXY header, "
        "version 1 or 2, that tells who the client really is.",
        default=[],
    )


def check_listen(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    protocol, tls = values.get("protocol"), values.get("tls")
    if tls is None:
        values["tls"] = "starttls" if context.tls and protocol not in _WITHOUT_STARTTLS else "none"
    elif tls == "starttls" and protocol in _WITHOUT_STARTTLS:
        text = f'"starttls" does not exist for {protocol}; allowed: "none" or "implicit"'
        yield KeyProblem(context.below("tls").key, text)
    elif tls != "none" and not context.tls:
        text = f'"{tls}" needs a certificate; allowed: "none", or any with a [tls] section'
        yield KeyProblem(context.below("tls").key, text)
