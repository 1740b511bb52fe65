"""Endpoints: the common mistakes in one, and what to write instead.

Twisted's grammar (twisted.internet.endpoints.serverFromString) separates the parts by colons. A colon within
a part has a backslash before it:

    endpoint = kind *( ":" ( value / name "=" value ) )

People often write a host and a port, or an IPv6 address with its colons. This module does not check whether
an endpoint exists and can be listened on.
"""

import ipaddress
import re
from collections.abc import Sequence
from itertools import takewhile

from mailserver.config.schema.problems import InvalidValue, show

ALLOWED = (
    'a Twisted server endpoint such as "tcp:25", "tcp:25:interface=192.0.2.1", "tcp6:25" or '
    '"unix:/run/mail.sock"'
)
TLS = '"tcp:465" with tls = "implicit" and a [tls] section'
KINDS = ("tcp", "tcp6", "unix", "systemd")

_ENDPOINT = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*:[^\x00-\x1f\x7f]*")
_COLON = re.compile(r"(?<!\\):")
# A host, which is not a kind of endpoint: an address, a name with dots, or nothing.
_HOST = r"\*|localhost|\[[0-9A-Fa-f:.]+\]|[^\s:/=]+\.[^\s:/=]+|"
_HOST_AND_PORT = re.compile(rf"(?:(?P<host>{_HOST}):)?(?P<port>[0-9]{{1,5}})")
_PORT = "a port from 0 to 65535"


def check_endpoint(text: str) -> None:
    """Raise :class:`InvalidValue`, with what to write instead if ``text`` is a common mistake."""
    if found := _HOST_AND_PORT.fullmatch(text):
        raise InvalidValue(f"invalid endpoint {show(text)}", _on(found["host"] or "", found["port"]))
    if not _ENDPOINT.fullmatch(text):
        raise InvalidValue(f"invalid endpoint {show(text)}", ALLOWED)


def check_parts(text: str) -> None:
    """Check the parts of a ``text`` that has passed :func:`check_endpoint`. Raises :class:`InvalidValue`."""
    kind, *words = _COLON.split(text)
    if kind not in KINDS and kind.lower() in KINDS:
        raise InvalidValue(f"invalid endpoint {show(text)}", show(f"{kind.lower()}{text[len(kind) :]}"))
    if kind == "tls":
        raise InvalidValue(f"invalid endpoint {show(text)}: TLS is not part of the endpoint", TLS)
    if kind in ("tcp", "tcp6"):
        _check_tcp(text, kind, words)


def tcp_port(text: str) -> int | None:
    """The TCP port of an endpoint; None if it has another kind."""
    kind, *words = _COLON.split(text)
    port = _port(words)
    return int(port) if kind in ("tcp", "tcp6") and port.isascii() and port.isdigit() else None


def on_loopback(text: str) -> str:
    """The endpoint, on a loopback address if it is for TCP and has no interface."""
    kind, *words = _COLON.split(text)
    if kind not in ("tcp", "tcp6") or any(word.startswith("interface=") for word in words):
        return text
    loopback = "127.0.0.1" if kind == "tcp" else r"\:\:1"
    return f"{text}:interface={loopback}"


def interface(text: str) -> str:
    """The interface of a TCP endpoint: an address, or "" for all addresses of the machine."""
    found = [word.removeprefix("interface=") for word in _COLON.split(text) if word.startswith("interface=")]
    return found[0].replace("\\:", ":") if found else ""


def is_local(text: str) -> bool:
    """Whether only programs on this machine can connect: a unix socket, or an address of the loopback."""
    kind = text.partition(":")[0]
    if kind == "unix":
        return True
    address = interface(text)
    if kind not in ("tcp", "tcp6") or not address:
        return False
    return address == "localhost" or (_is_address(address) and ipaddress.ip_address(address).is_loopback)


def _port(words: Sequence[str]) -> str:
    """The port of an endpoint, which is given in its parts; "" if it has none."""
    named = [word.removeprefix("port=") for word in words if word.startswith("port=")]
    return (named or [word for word in words if "=" not in word] or [""])[0]


def _check_tcp(text: str, kind: str, words: Sequence[str]) -> None:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    values = [word for word in words if "=" not in word]
    port = _port(words)
    interface = options.get("interface", "").replace("\\:", ":")
    named = next((number for number, word in enumerate(words) if word.startswith("interface=")), len(words))
    rest = list(takewhile(lambda word: "=" not in word, words[named + 1 :]))
    if rest:
        # What follows the interface belongs to it: an IPv6 address.
        host = ":".join([interface, *rest])
        raise InvalidValue(
            f"invalid endpoint {show(text)}: colons in the interface need backslashes", _on(host, port)
        )
    if len(values) > 1 and not port.isdigit() and values[-1].isdigit():
        raise InvalidValue(
            f"invalid endpoint {show(text)}: the port comes first", _on(":".join(values[:-1]), values[-1])
        )
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise InvalidValue(f"invalid endpoint {show(text)}: invalid port", f'{_PORT}, such as "{kind}:25"')
    if interface and not _is_address(interface) and "." not in interface and interface != "localhost":
        raise InvalidValue(
            f"invalid endpoint {show(text)}: the interface is not an IP address",
            'an address of this machine, such as "interface=192.0.2.1"',
        )


def endpoint_for(host: str, port: int | str) -> str:
    """The endpoint for an IP address, or a name, and a port."""
    if host == "0.0.0.0":
        return f"tcp:{port}"
    if host == "::":
        return f"tcp6:{port}"
    kind = "tcp6" if ":" in host else "tcp"
    return f"{kind}:{port}:interface={host.replace(':', chr(92) + ':')}"


def _on(host: str, port: str) -> str:
    """The endpoint for a host and a port, in the syntax of the file."""
    host = host.strip("[]")
    # One colon of "tcp6:::25" is a separator.
    host = {"": "0.0.0.0", "*": "0.0.0.0", ":": "::"}.get(host, host)
    return show(endpoint_for(host, port))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def explain(text: str, error: Exception) -> str:
    """The error for an endpoint, with what is allowed, from the exception that Twisted raised."""
    kind = text.partition(":")[0]
    if kind == "systemd" and isinstance(error, (IndexError, KeyError)):
        return (
            "systemd has not passed this socket; allowed: only if a .socket unit starts the server "
            "(LISTEN_FDS), with the index or the name of one of its sockets"
        )
    if kind == "systemd":
        return 'no socket is named; allowed: an endpoint such as "systemd:domain=INET:index=0"'
    if kind == "ssl":
        return f"TLS is not part of the endpoint; allowed: {TLS}"
    if found := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
        return f"unknown option {found[1]}; allowed: {ALLOWED}"
    if isinstance(error, TypeError):
        return f"too many or too few parts; allowed: {ALLOWED}"
    if "with base 8" in str(error):
        return 'the mode is not an octal number; allowed: an endpoint such as "unix:/run/mail.sock:mode=660"'
    if "invalid literal" in str(error):
        return f"text instead of a number; allowed: {ALLOWED}"
    return f"{error}; allowed: {ALLOWED}"
