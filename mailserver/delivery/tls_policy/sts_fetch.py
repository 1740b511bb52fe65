"""Fetches policies of MTA-STS by HTTPS (RFC 8461 section 3.3).

The certificate must be valid for the policy host. Redirects are not followed. The octets and the time of the
response are limited. ``twisted.web`` is imported on the first use, because many servers never need it.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from mailserver.dns.interfaces import IResolver
from mailserver.dns.public import is_public
from mailserver.errors import DNSFailure, MailserverError, one_line

MOST_OCTETS = 65536  # of the policy (section 3.3); the header of the response may have as many
TIMEOUT = 60.0  # seconds, for all steps together
_CONNECT_TIMEOUT = 10
_MOST_ADDRESSES = 4
_MOST_REASON = 200  # characters


class PolicyUnavailable(MailserverError):
    """A policy cannot be fetched; the text says why."""


class PolicyHosts:
    """Fetches the policies of domains.

    ``trust`` has the trusted authorities, as for ``optionsForClientTLS``; None means those of the system.
    ``allow_private``: policy hosts may have private and loopback addresses.
    """

    def __init__(
        self,
        reactor: Any,  # IReactorTime and IReactorTCP
        resolver: IResolver,
        *,
        port: int = 443,
        trust: Any = None,
        allow_private: bool = False,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._port = port
        self._trust = trust
        self.allow_private = allow_private

    def fetch(self, domain: str) -> Deferred[bytes]:
        """The content of the policy file of a domain. Fails with :class:`PolicyUnavailable`."""
        deadline = self._reactor.seconds() + TIMEOUT
        work = Deferred.fromCoroutine(self._fetch(f"mta-sts.{domain}", deadline))
        return work.addTimeout(TIMEOUT, self._reactor).addErrback(self._unavailable, deadline)

    async def _fetch(self, host: str, deadline: float) -> bytes:
        problem: Exception = PolicyUnavailable(f"{host} has no usable address")
        for address in await self._addresses(host):
            if self._reactor.seconds() >= deadline:  # the errors of twisted.web hide that
                break
            try:
                return await self._get(host, address)
            except (PolicyUnavailable, CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - of any layer below; the next address may do
                problem = error
        raise problem

    def _unavailable(self, failure: Failure, deadline: float) -> Failure:
        """One kind of error for the many of the layers below."""
        error = failure.value
        if isinstance(error, PolicyUnavailable):
            return failure
        if self._reactor.seconds() >= deadline:
            return Failure(PolicyUnavailable(f"no answer within {TIMEOUT:.0f} seconds"))
        reasons = getattr(error, "reasons", None)  # of twisted.web
        reason = reasons[0].value if reasons else error
        return Failure(PolicyUnavailable(one_line(f"{reason}" or type(reason).__name__)[:_MOST_REASON]))

    async def _addresses(self, host: str) -> list[str]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                answer = await self._resolver.lookup(host, kind)
            except DNSFailure:
                if kind == "AAAA" and not found:
                    raise
                continue
            found += [address for address in answer.records if self.allow_private or is_public(address)]
        return found[:_MOST_ADDRESSES]

    async def _get(self, host: str, address: str) -> bytes:
        from twisted.web.client import Agent

        connection = _Connection(self._endpoint(host, address))
        url = f"https://{host}/.well-known/mta-sts.txt"
        try:
            agent = Agent.usingEndpointFactory(self._reactor, connection)
            response: Any = await agent.request(b"GET", url.encode())
            if problem := _rejected(response):
                raise PolicyUnavailable(f"{host} answers with {problem}")
            body = _Body()
            response.deliverBody(body)
            content = await body.finished
        finally:
            connection.abort()
        if len(content) > MOST_OCTETS:
            raise PolicyUnavailable(f"the policy of {host} has more than {MOST_OCTETS} octets")
        return content

    def _endpoint(self, host: str, address: str) -> Any:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        plain = kind(self._reactor, address, self._port, timeout=_CONNECT_TIMEOUT)
        return wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust), plain)


def _rejected(response: Any) -> str:
    if response.code != 200:
        return f"status {response.code}"
    kind = (response.headers.getRawHeaders(b"content-type") or [b""])[0]
    if kind.partition(b";")[0].strip().lower() != b"text/plain":
        return f"content of type {kind.decode('ascii', 'replace')!r}"
    return ""


class _Body(Protocol):
    """Collects the body of a response. ``finished`` fails if the end is missing."""

    def __init__(self) -> None:
        self.finished: Deferred[bytes] = Deferred()
        self._content = b""

    def dataReceived(self, data: bytes) -> None:
        self._content += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        from twisted.web.client import ResponseDone

        if not self.finished.called:
            self.finished.callback(self._content if reason.check(ResponseDone) else reason)


class _Connection:
    """An endpoint that gives its connection a limit, and can abort it. It is also Twisted's
    IAgentEndpointFactory, which always returns this endpoint."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint
        self._wrapper: Any = None

    def endpointForURI(self, uri: object) -> "_Connection":
        return self

    async def _connect(self, factory: Any) -> Any:
        self._wrapper = await self._endpoint.connect(factory)
        return self._wrapper.wrappedProtocol

    def connect(self, factory: Factory) -> Deferred[Protocol]:
        limited: Any = _LimitedFactory
        return Deferred.fromCoroutine(self._connect(limited(factory)))

    def abort(self) -> None:
        """End the connection, if there is one."""
        if self._wrapper is not None:
            self._wrapper.transport.abortConnection()


class _Limited(ProtocolWrapper):
    """Ends a connection that brings too many octets."""

    _received = 0

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > 2 * MOST_OCTETS:
            transport: Any = self.transport
            transport.abortConnection()
        else:
            self.wrappedProtocol.dataReceived(data)


class _LimitedFactory(WrappingFactory):
    noisy = False
    protocol = _Limited
