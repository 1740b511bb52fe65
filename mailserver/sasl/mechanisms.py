"""The table of mechanisms, and the properties of a connection that they use.

Some mechanisms are left out on purpose: DIGEST-MD5 is obsolete (RFC 6331), NTLM is proprietary and weak,
GSSAPI needs a Kerberos realm. APOP is a command of POP3, see ``apop``.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from mailserver.sasl.bearer import oauthbearer, xoauth2
from mailserver.sasl.cram import cram_md5
from mailserver.sasl.external import anonymous, external
from mailserver.sasl.plain import login, plain
from mailserver.sasl.scram import Binding, scram
from mailserver.sasl.steps import Steps


def _nonce() -> str:
    return secrets.token_hex(18)


def _unbound(binding_type: str) -> None:
    """A connection without TLS has no binding data."""


@attrs.frozen
class Channel:
    """The properties of a connection that mechanisms use.

    ``secure``: it uses TLS. ``binding`` returns the data of a channel binding type, "tls-exporter",
    "tls-unique" or "tls-server-end-point", None if there is none of that type. ``certificate_names`` returns
    the addresses in the client's verified certificate. Neither is called before data has been received over
    TLS. ``offered`` has the mechanisms offered to the client, for the downgrade check of SCRAM. Each call of
    ``nonce`` returns another unguessable text of letters and digits.
    """

    hostname: str
    secure: bool = False
    binding: Callable[[str], bytes | None] = _unbound
    certificate_names: Callable[[], Sequence[str]] = tuple
    offered: frozenset[str] = frozenset()
    nonce: Callable[[], str] = _nonce

    def unique(self) -> str:
        """A challenge of CRAM-MD5 or a timestamp of APOP: a unique msg-id."""
        return f"<{self.nonce()}@{self.hostname}>"


def _always(channel: Channel) -> bool:
    return True


@attrs.frozen
class Mechanism:
    """A mechanism. ``steps`` starts it.

    ``client_first``: the command may have the response to the first challenge, which is then not sent (RFC
    4422 section 3.3). ``usable``: whether the mechanism works on a connection.
    """

    name: str
    steps: Callable[[Channel], Steps]
    client_first: bool = False
    usable: Callable[[Channel], bool] = _always


def _scram(name: str, hash_name: str) -> tuple[Mechanism, Mechanism]:
    """The mechanisms with and without channel binding."""
    plus = f"{name}-PLUS"

    def steps(channel: Channel, used: bool) -> Steps:
        return scram(hash_name, channel.nonce(), Binding(used, plus in channel.offered, channel.binding))

    return (
        Mechanism(plus, lambda channel: steps(channel, True), True, lambda channel: channel.secure),
        Mechanism(name, lambda channel: steps(channel, False), True),
    )


# The strongest first. Clients see them in this order.
_ALL = (
    *_scram("SCRAM-SHA-256", "sha256"),
    *_scram("SCRAM-SHA-1", "sha1"),
    Mechanism(
        "EXTERNAL",
        lambda channel: external(channel.certificate_names()),
        client_first=True,
        usable=lambda channel: bool(channel.certificate_names()),
    ),
    Mechanism("OAUTHBEARER", lambda channel: oauthbearer(), client_first=True),
    Mechanism("XOAUTH2", lambda channel: xoauth2(), client_first=True),
    Mechanism("CRAM-MD5", lambda channel: cram_md5(channel.unique())),
    Mechanism("PLAIN", lambda channel: plain(), client_first=True),
    Mechanism("LOGIN", lambda channel: login(), client_first=True),
    Mechanism("ANONYMOUS", lambda channel: anonymous(), client_first=True),
)

MECHANISMS: Mapping[str, Mechanism] = {mechanism.name: mechanism for mechanism in _ALL}
"""The mechanisms by name, in the order in which they are offered."""


def available(names: Collection[str], channel: Channel) -> tuple[str, ...]:
    """The mechanisms among ``names`` that work on this connection, in the order of the table."""
    return tuple(
        name for name, mechanism in MECHANISMS.items() if name in names and mechanism.usable(channel)
    )
