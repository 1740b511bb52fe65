"""The section [[listen]]: where the server listens, and for what."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from mailserver.config.schema.endpoints import is_local, on_loopback, tcp_port
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
    """One listener."""

    protocol: Protocol = key(
        Choice[Protocol](get_args(Protocol)),
        "Protocol of the listener. smtp accepts mail for local recipients from anybody; submission accepts "
        "mail from users who have logged in (RFC 6409); lmtp accepts mail for local recipients from another "
        "mail server (RFC 2033) on a unix socket, on this machine or in relay.networks, and from others "
        "after a login; web is the HTTP API (docs/web.md); metrics is HTTP for monitoring "
        "(docs/monitoring.md), without authentication.",
        example="smtp",
    )
    endpoint: str = key(
        ENDPOINT,
        'Twisted endpoint to listen on. "tcp:25" accepts IPv4 only; "tcp6:25" accepts IPv6 and, on Linux, '
        "also IPv4. Without an interface, web and metrics are on the loopback interface. On any other one, "
        "web requires TLS. Port 0 selects a free port; the ready file says which.",
        example="tcp:25",
    )
    tls: TlsMode = key(
        Choice[TlsMode](get_args(TlsMode)),
        'TLS mode: without TLS ("none"), upgrade on request ("starttls"), or TLS from the first octet '
        '("implicit"). web and metrics have no STARTTLS.',
        note='"starttls" with a [tls] section, otherwise "none"; always "none" for web and metrics',
        example="none",
        compute=lambda listen: "none",
    )
    proxies: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of proxies and load balancers. A connection from one of them must begin with a PROXY "
        "header, version 1 or 2, which has the address of the client.",
        default=[],
        example=["192.0.2.10"],
    )


def check_listen(values: dict[str, Any], context: Context) -> Iterator[KeyProblem]:
    protocol, tls = values.get("protocol"), values.get("tls")
    if protocol == "lmtp" and tcp_port(values.get("endpoint") or "") == 25:
        text = 'port 25 is for SMTP (RFC 2033 section 5); allowed: another port, or a "unix:/path"'
        yield KeyProblem(context.below("endpoint").key, text)
    if protocol in _WITHOUT_STARTTLS:
        if "endpoint" in values:
            values["endpoint"] = on_loopback(values["endpoint"])
        if values.get("proxies"):
            text = f'protocol "{protocol}" has no PROXY header; allowed: no proxies'
            yield KeyProblem(context.below("proxies").key, text)
    if protocol == "web" and tls in (None, "none") and not is_local(values.get("endpoint") or "unix:"):
        text = (
            'protocol "web" requires TLS where other machines can connect; allowed: "implicit", or an '
            "endpoint on a loopback interface or a unix socket"
        )
        yield KeyProblem(context.below("tls").key, text)
    if tls is None:
        values["tls"] = "starttls" if context.tls and protocol not in _WITHOUT_STARTTLS else "none"
    elif tls == "starttls" and protocol in _WITHOUT_STARTTLS:
        text = f'protocol "{protocol}" has no STARTTLS; allowed: "none" or "implicit"'
        yield KeyProblem(context.below("tls").key, text)
    elif tls != "none" and not context.tls:
        text = f'"{tls}" requires a certificate; allowed: "none", or any value with a [tls] section'
        yield KeyProblem(context.below("tls").key, text)
