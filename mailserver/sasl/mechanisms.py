"""The table of mechanisms, and what they need to know of a connection.

What is not here on purpose: DIGEST-MD5 is obsolete (RFC 6331), NTLM proprietary and weak, GSSAPI needs a
Kerberos realm. APOP is POP3's own, see ``apop``.
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
    """A connection without TLS has nothing to bind to."""


@attrs.frozen
class Channel:
    """One connection, as far as mechanisms care.

    ``secure``: it is under TLS. ``binding`` gives the data of a channel binding type, "tls-exporter",
    "tls-unique" or "tls-server-end-point", None if it has none of that type. ``certificate_names`` gives
    the addresses in the client's certificate, verified. Neither is called before something was said
    over TLS. ``offered`` are the mechanisms that the client was told of, for the downgrade check of
    SCRAM. ``nonce`` gives, each time, another text of letters and digits that nobody can guess.
    """

    hostname: str
    secure: bool = False
    binding: Callable[[str], bytes | None] = _unbound
    certificate_names: Callable[[], Sequence[str]] = tuple
    offered: frozenset[str] = frozenset()
    nonce: Callable[[], str] = _nonce

    def unique(self) -> str:
        """A challenge of CRAM-MD5, a timestamp of APOP: a msg-id that never comes again."""
        return f"<{self.nonce()}@{self.hostname}>"


def _always(channel: Channel) -> bool:
    return True


@attrs.frozen
class Mechanism:
    """A mechanism. ``steps`` begins it.

    ``client_first``: the response to the first challenge may come with the command, and then that
    challenge is not sent (RFC 4422 section 3.3). ``usable`` tells where the mechanism can be used.
    """

    name: str
    steps: Callable[[Channel], Steps]
    client_first: bool = False
    usable: Callable[[Channel], bool] = _always


def _scram(name: str, hash_name: str) -> tuple[Mechanism, Mechanism]:
    """With channel binding, and without."""
    plus = f"{name}-PLUS"

    def steps(channel: Channel, used: bool) -> Steps:
        return scram(hash_name, channel.nonce(), Binding(used, plus in channel.offered, channel.binding))

    return (
        Mechanism(plus, lambda channel: steps(channel, True), True, lambda channel: channel.secure),
        Mechanism(name, lambda channel: steps(channel, False), True),
    )


# The strongest first: in this order clients are told of them.
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
"""By name, in the order in which clients are told of them."""


def available(names: Collection[str], channel: Channel) -> tuple[str, ...]:
    """Those of ``names`` that are mechanisms and can be used on this connection, in our order."""
    return tuple(
        name for name, mechanism in MECHANISMS.items() if name in names and mechanism.usable(channel)
    )
