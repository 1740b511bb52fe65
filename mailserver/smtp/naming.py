"""XCLIENT and XFORWARD, extensions of Postfix: a trusted server in front of this one names the client.

After XCLIENT the session begins again, for that client. A list of attributes that is too long for one line
comes in several XCLIENT commands, with no other command between them. The server cannot see whether the proxy
has sent the next XCLIENT or its client has, since many proxies pass on all that the client sends. So the next
XCLIENT only adds attributes: it changes none that has been named, and it names no LOGIN once ADDR has been
named. A proxy that names ADDR in its last XCLIENT, as Postfix advises, leaves its client no right to name an
account or an address.

XFORWARD only names the client of the next message, for the log. Its attributes may come in several commands.

    xclient = "XCLIENT" 1*( SP attribute "=" value )      ; the values are xtext (RFC 3461 section 4)
    value   = xtext / "[UNAVAILABLE]" / "[TEMPUNAVAIL]"   ; an address of IPv6 begins with "IPV6:"
"""

import ipaddress
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping

import attrs

from mailserver.mail.verdict import Defer, Refuse
from mailserver.mail.xtext import from_xtext, is_xtext
from mailserver.sasl.mechanisms import Channel
from mailserver.session.core import LineSession
from mailserver.session.verbs import Refused, Step
from mailserver.smtp import events, replies
from mailserver.smtp.login import SMTPLogin
from mailserver.smtp.options import SMTPOptions
from mailserver.smtp.replies import syntax_error
from mailserver.smtp.verdicts import named_reply

_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_VALUE = 255  # characters


def _address(value: str) -> str:
    if value[:5].upper() != "IPV6:":
        return str(ipaddress.IPv4Address(value))
    address = ipaddress.IPv6Address(value[5:])
    if address.scope_id is not None:
        raise ValueError("an address with a zone is not accepted")
    # An IPv4 client of a proxy that listens on one socket for both versions.
    return str(address.ipv4_mapped or address)


def _port(value: str) -> str:
    if not _PORT.fullmatch(value) or int(value) >= 2**16:
        raise ValueError("not a port")
    return value


def _one_of(*words: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value.upper() not in words:
            raise ValueError("not one of the words")
        return value.upper()

    return check


_XCLIENT: dict[str, Callable[[str], str]] = {
    "NAME": str,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _one_of("SMTP", "ESMTP", "LMTP"),
    "HELO": str,
    "LOGIN": str,
    "DESTADDR": _address,
    "DESTPORT": _port,
}
_XFORWARD: dict[str, Callable[[str], str]] = {
    **{name: _XCLIENT[name] for name in ("NAME", "ADDR", "PORT")},
    "PROTO": str,  # also of mail that did not come by SMTP
    "HELO": str,
    "IDENT": str,
    "SOURCE": _one_of("LOCAL", "REMOTE"),
}
XCLIENT_ATTRIBUTES = " ".join(_XCLIENT)
XFORWARD_ATTRIBUTES = " ".join(_XFORWARD)


def parse_xclient(argument: str, options: SMTPOptions) -> events.Attributes:
    """The attributes of XCLIENT; a value that is not known is ""."""
    found = _parse(argument, _XCLIENT)
    if found.get("ADDR") == "":
        # It would have the permissions of the proxy.
        raise syntax_error("a client without an address is not accepted")
    return found


def parse_xforward(argument: str, options: SMTPOptions) -> events.Attributes:
    """The attributes of XFORWARD; a value that is not known is ""."""
    return _parse(argument, _XFORWARD)


def _parse(argument: str, known: Mapping[str, Callable[[str], str]]) -> events.Attributes:
    found: dict[str, str] = {}
    for word in argument.split():
        name, _, encoded = word.partition("=")
        name = name.upper()
        if name not in known:
            raise syntax_error(f"the attributes are {' '.join(known)}")
        if name in found:
            raise syntax_error(f"duplicate attribute {name}")
        found[name] = _value(name, encoded, known[name])
    if not found:
        raise syntax_error("an attribute is required, such as ADDR=192.0.2.1")
    return found


def _value(name: str, encoded: str, read: Callable[[str], str]) -> str:
    if encoded.upper() in _UNKNOWN:
        return ""
    try:
        if not is_xtext(encoded) or len(encoded) > _MAX_VALUE:
            raise ValueError("not xtext")
        return read(from_xtext(encoded))
    except ValueError:
        raise syntax_error(f"{name} has an invalid value") from None


class ClientNaming(LineSession):
    """The handlers of both commands."""

    __slots__ = ("_named", "_named_at", "_options", "_origin")

    _options: SMTPOptions
    _login: SMTPLogin
    _origin: events.Attributes  # of the next message
    _named: events.Attributes  # by XCLIENT
    _named_at: int  # the number of the last XCLIENT among the commands, 0 before

    @abstractmethod
    def _begin(self, channel: Channel) -> SMTPLogin:
        """See the base class."""

    def xclient(self, attributes: events.Attributes) -> Step:
        repeated = self._named_at and self.commands == self._named_at + 1
        final = self._named.keys() | ({"LOGIN"} if "ADDR" in self._named else set())
        if not (self._options.xclient or repeated) or attributes.keys() & final:
            raise Refused(replies.NOT_TRUSTED)
        return events.ClientNamed({**self._named, **attributes})

    def client_named(self, asked: events.ClientNamed, client: events.NamedClient | Defer | Refuse) -> Step:
        if not isinstance(client, events.NamedClient):
            raise Refused(named_reply(client))
        self._options = attrs.evolve(client.options, xclient=False)
        self._login = self._begin(self._login.channel)
        self._named, self._named_at = asked.attributes, self.commands
        if client.account:
            self._login.finished("", client.account)
            self._logged_in(client.account)
        self.greet()
        return b""

    def xforward(self, attributes: events.Attributes) -> Step:
        if not self._options.xforward:
            raise Refused(replies.NOT_TRUSTED)
        self._origin = {**self._origin, **attributes}
        return replies.OK.octets
