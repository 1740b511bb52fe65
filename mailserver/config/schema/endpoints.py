"""Endpoints: what is wrong with one, and what to write instead.

Twisted's grammar (twisted.internet.endpoints.serverFromString) has colons between the parts, and a backslash
before each colon that is none of them:

    endpoint = kind *( ":" ( value / name "=" value ) )

What people write first is a host and a port, or an IPv6 address with its colons. Whether an endpoint exists,
and can be listened on, is for others to say.
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
# A host that is no kind of endpoint: an address, a name with dots, or nothing.
_HOST = r"\*|localhost|\[[0-9A-Fa-f:.]+\]|[^\s:/=]+\.[^\s:/=]+|"
_HOST_AND_PORT = re.compile(rf"(?:(?P<host>{_HOST}):)?(?P<port>[0-9]{{1,5}})")
_PORT = "a port from 0 to 65535"


def check_endpoint(text: str) -> None:
    """Raise :class:`Refused`, with what to write instead if ``text`` is a usual mistake."""
    if found := _HOST_AND_PORT.fullmatch(text):
        raise InvalidValue(f"{show(text)} is no endpoint", _on(found["host"] or "", found["port"]))
    if not _ENDPOINT.fullmatch(text):
        raise InvalidValue(f"{show(text)} is no endpoint", ALLOWED)


def check_parts(text: str) -> None:
    """As :func:`check_endpoint`, of what has the form of an endpoint."""
    kind, *words = _COLON.split(text)
    if kind not in KINDS and kind.lower() in KINDS:
        raise InvalidValue(f"{show(text)} is no endpoint", show(f"{kind.lower()}{text[len(kind) :]}"))
    if kind == "tls":
        raise InvalidValue(f"{show(text)} has TLS, which is no part of the endpoint", TLS)
    if kind in ("tcp", "tcp6"):
        _check_tcp(text, kind, words)


def _check_tcp(text: str, kind: str, words: Sequence[str]) -> None:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    values = [word for word in words if "=" not in word]
    port = options.get("port") or (values[0] if values else "")
    interface = options.get("interface", "").replace("\\:", ":")
    named = next((number for number, word in enumerate(words) if word.startswith("interface=")), len(words))
    rest = list(takewhile(lambda word: "=" not in word, words[named + 1 :]))
    if rest:
        # What follows the interface belongs to it: an IPv6 address.
        host = ":".join([interface, *rest])
        raise InvalidValue(f"{show(text)} has colons in its interface", _on(host, port))
    if len(values) > 1 and not port.isdigit() and values[-1].isdigit():
        raise InvalidValue(f"{show(text)} has the port last", _on(":".join(values[:-1]), values[-1]))
    if not (port.isascii() and port.isdigit() and int(port) < 2**16):
        raise InvalidValue(f"{show(text)} has no valid port", f'{_PORT}, such as "{kind}:25"')
    if interface and not _is_address(interface) and "." not in interface and interface != "localhost":
        raise InvalidValue(
            f"{show(text)} has an interface that is no IP address",
            'an address of this machine: "interface=192.0.2.1"',
        )


def _on(host: str, port: str) -> str:
    """An endpoint for a host and a port, as it is written in the file."""
    host = host.strip("[]")
    if host in ("", "*", "0.0.0.0"):
        return show(f"tcp:{port}")
    if host in ("::", ":"):  # of "tcp6:::25" one colon is a separator
        return show(f"tcp6:{port}")
    kind = "tcp6" if ":" in host else "tcp"
    return show(f"{kind}:{port}:interface={host.replace(':', chr(92) + ':')}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def explain(text: str, error: Exception) -> str:
    """Why Twisted has no such endpoint, from the exception of its parser."""
    kind = text.partition(":")[0]
    if kind == "systemd" and isinstance(error, (IndexError, KeyError)):
        return (
            "systemd has handed over no such socket; allowed: only where a .socket unit starts the server "
            "(LISTEN_FDS), with the index or the name of one of its sockets"
        )
    if kind == "systemd":
        return 'it names no socket; allowed: such as "systemd:domain=INET:index=0"'
    if kind == "ssl":
        return f"TLS is no part of the endpoint; allowed: {TLS}"
    if found := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
        return f"it has no option {found[1]}; allowed: {ALLOWED}"
    if isinstance(error, TypeError):
        return f"it has too many or too few parts; allowed: {ALLOWED}"
    if "with base 8" in str(error):
        return 'its mode is no octal number; allowed: such as "unix:/run/mail.sock:mode=660"'
    if "invalid literal" in str(error):
        return f"it has a text where a number is wanted; allowed: {ALLOWED}"
    return f"{error}; allowed: {ALLOWED}"
