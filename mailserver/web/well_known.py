"""Files that mail programs and other mail servers look for, from the configuration.

    /.well-known/autoconfig/mail/config-v1.1.xml    Thunderbird and others, also at /mail/config-v1.1.xml
    /autodiscover/autodiscover.xml                  Outlook (POX autodiscover)
    /.well-known/mta-sts.txt                        the MTA-STS policy (RFC 8461 section 3.2)

They need no login, and exist only for the domains of this server.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import attrs

from mailserver.config.keys.listen import ListenSection
from mailserver.config.keys.web import WebSection
from mailserver.config.schema.endpoints import is_local, tcp_port
from mailserver.delivery.tls_policy.sts_policy import USUAL_AGE, STSPolicy
from mailserver.http.exchange import HTTPAnswer, HTTPHead, HTTPProblem, HTTPRequest

AUTOCONFIG = ("/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml")
AUTODISCOVER = "/autodiscover/autodiscover.xml"
STS = "/.well-known/mta-sts.txt"
XML = "application/xml; charset=utf-8"
_PREFIXES = ("autoconfig.", "autodiscover.", "mta-sts.")
_ADDRESS = re.compile(rb"<EMailAddress>\s*([^<>\s]{1,320})\s*</EMailAddress>")
_POX = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006"


@attrs.frozen
class ClientServer:
    """A server for mail programs. ``kind`` is "pop3" or "smtp"; ``socket`` is "SSL", "STARTTLS" or
    "plain"."""

    kind: str
    port: int
    socket: str


def client_servers(listeners: Sequence[ListenSection]) -> Sequence[ClientServer]:
    """The servers of the listeners that mail programs of other machines can use, those with TLS first."""
    sockets = {"implicit": "SSL", "starttls": "STARTTLS", "none": "plain"}
    kinds = {"pop3": "pop3", "submission": "smtp"}
    found = [
        ClientServer(kinds[listen.protocol], port, sockets[listen.tls])
        for listen in listeners
        if listen.protocol in kinds and not is_local(listen.endpoint) and (port := tcp_port(listen.endpoint))
    ]
    order = list(sockets.values())
    return sorted(found, key=lambda each: order.index(each.socket))


class WellKnownFiles:
    """Answers requests for these files. ``section`` returns the section [web] in force."""

    def __init__(
        self,
        hostname: str,
        domains: Callable[[], Sequence[str]],
        listeners: Sequence[ListenSection],
        section: Callable[[], WebSection],
    ) -> None:
        self._hostname = hostname
        self._domains = domains
        self._servers = client_servers(listeners)
        self._section = section
        self._answers: Mapping[str, Callable[[HTTPRequest], HTTPAnswer]] = {
            **dict.fromkeys(AUTOCONFIG, self._autoconfig),
            AUTODISCOVER: self._autodiscover,
            STS: self._sts,
        }

    def answer(self, request: HTTPRequest) -> HTTPAnswer | None:
        """The answer; None if this is another path. Raises HTTPProblem."""
        found = self._answers.get(request.head.target.lower())
        return found(request) if found is not None else None

    def is_for(self, head: HTTPHead) -> bool:
        """Whether the host of the request may have such a file: a domain, or a name for these files in it."""
        return head.target.lower() in self._answers and self._domain_of(head.host) is not None

    def _domain_of(self, host: str) -> str | None:
        domains = self._domains()
        for prefix in ("", *_PREFIXES):
            if host.startswith(prefix) and host.removeprefix(prefix) in domains:
                return host.removeprefix(prefix)
        return None

    # ------------------------------------------------------------ mail programs

    def _autoconfig(self, request: HTTPRequest) -> HTTPAnswer:
        head = request.head
        if head.method not in ("GET", "HEAD"):
            raise HTTPProblem(405, "allowed: GET, HEAD", {"Allow": "GET, HEAD"})
        address = dict(parse_qsl(head.query)).get("emailaddress", "")
        domain = self._named(address.rpartition("@")[2].lower() if address else head.host)
        servers = "".join(map(self._autoconfig_server, self._servers))
        return HTTPAnswer(
            200,
            f'<?xml version="1.0" encoding="UTF-8"?>\n<clientConfig version="1.1">\n'
            f'  <emailProvider id="{escape(domain)}">\n    <domain>{escape(domain)}</domain>\n'
            f"    <displayName>{escape(domain)}</displayName>\n{servers}"
            f"  </emailProvider>\n</clientConfig>\n".encode(),
            XML,
        )

    def _named(self, domain: str) -> str:
        """The domain that is asked for. Raises HTTPProblem, 404, if it is not here."""
        found = self._domain_of(domain)
        if found is None:
            raise HTTPProblem(404, "This domain is not here.")
        return found

    def _autoconfig_server(self, server: ClientServer) -> str:
        name = "incomingServer" if server.kind == "pop3" else "outgoingServer"
        return (
            f'    <{name} type="{server.kind}">\n      <hostname>{escape(self._hostname)}</hostname>\n'
            f"      <port>{server.port}</port>\n      <socketType>{server.socket}</socketType>\n"
            f"      <username>%EMAILADDRESS%</username>\n"
            f"      <authentication>password-cleartext</authentication>\n    </{name}>\n"
        )

    def _autodiscover(self, request: HTTPRequest) -> HTTPAnswer:
        if request.head.method != "POST":
            raise HTTPProblem(405, "allowed: POST", {"Allow": "POST"})
        asked = _ADDRESS.search(request.body.read())
        address = asked[1].decode("utf-8", "replace") if asked is not None else ""
        self._named(address.rpartition("@")[2].lower())
        protocols = "".join(self._protocol(server, address) for server in self._servers)
        return HTTPAnswer(
            200,
            f'<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">\n'
            f'  <Response xmlns="{_POX}">\n    <Account>\n      <AccountType>email</AccountType>\n'
            f"      <Action>settings</Action>\n{protocols}"
            f"    </Account>\n  </Response>\n</Autodiscover>\n".encode(),
            XML,
        )

    def _protocol(self, server: ClientServer, address: str) -> str:
        encryption = {"SSL": "SSL", "STARTTLS": "TLS", "plain": "None"}[server.socket]
        return (
            f"      <Protocol>\n        <Type>{server.kind.upper()}</Type>\n"
            f"        <Server>{escape(self._hostname)}</Server>\n        <Port>{server.port}</Port>\n"
            f"        <LoginName>{escape(address)}</LoginName>\n        <SPA>off</SPA>\n"
            f"        <Encryption>{encryption}</Encryption>\n        <AuthRequired>on</AuthRequired>\n"
            f"      </Protocol>\n"
        )

    # ------------------------------------------------------------ other mail servers

    def _sts(self, request: HTTPRequest) -> HTTPAnswer:
        head, section = request.head, self._section()
        if head.method not in ("GET", "HEAD"):
            raise HTTPProblem(405, "allowed: GET, HEAD", {"Allow": "GET, HEAD"})
        if section.mta_sts == "off" or head.host.removeprefix("mta-sts.") not in self._domains():
            raise HTTPProblem(404, "There is no policy; see web.mta_sts.")
        policy = STSPolicy(section.mta_sts, (self._hostname,), USUAL_AGE)
        return HTTPAnswer.text(policy.text)
