"""The factory of a listener for HTTP: makes its connections, counts them, and closes them at the stop."""

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString

from mailserver.events.base import report
from mailserver.events.connections import ClientRejected, TLSFailed
from mailserver.http.channel import HTTPExchange, StrictChannel, fields_of
from mailserver.http.exchange import HTTPAnswer, HTTPApplication, HTTPProblem, HTTPRequest
from mailserver.interfaces import IReactor
from mailserver.mail.ids import new_id
from mailserver.net.factory import client_ip
from mailserver.net.limits import Limits

CLOSING = 1.0  # seconds for a client to end its connection when the server stops


class HTTPListening(Factory):
    """The factory of one listener; see :class:`~mailserver.net.listener.Listener`.

    ``old_clients``: HTTP/1.0 is served, too. Some health checks speak nothing else.
    """

    noisy = False

    def __init__(
        self,
        application: HTTPApplication,
        reactor: IReactor,
        *,
        tls: Callable[[], object] | None = None,
        limits: Limits | None = None,
        most: int = 0,
        old_clients: bool = False,
    ) -> None:
        """``tls`` returns the context of ``startTLS`` for the next connection; None: without TLS.

        ``limits`` are those of the mail ports, which count the connections, too; None: they do not count.
        ``most``: the greatest number of connections, 0 for no limit of the listener's own.
        """
        self.application = application
        self.reactor = reactor
        self.old_clients = old_clients
        self.is_secure = tls is not None
        self.connections: set[StrictChannel] = set()
        self.stopping = False
        self._tls = tls
        self._limits = limits
        self._most = most
        self._all_closed: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None

    # ------------------------------------------------------------ connections

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """None, which closes the connection, if there are too many."""
        ip, session = client_ip(addr), new_id()
        if self.stopping or 0 < self._most <= len(self.connections):
            return None
        key = ""
        if self._limits is not None:
            key = self._limits.client(ip)
            if refusal := self._limits.connections.admit(key):
                report(
                    ClientRejected(
                        client=ip, session=session, account="", reason=refusal.text, rule=refusal.key
                    )
                )
                return None
        channel = StrictChannel(ip, key, session)
        channel.owner = self
        return channel

    def opened(self, channel: StrictChannel) -> None:
        """A connection begins."""
        self.connections.add(channel)
        if self._tls is not None:
            channel.transport.startTLS(self._tls())

    def closed(self, channel: StrictChannel, reason: Failure) -> None:
        """A connection has ended."""
        if channel not in self.connections:
            return
        if reason is not None and reason.check(SSL.Error):
            report(TLSFailed(client=channel.client, session=channel.session, reason=reason.value, rule="tls"))
        self.connections.discard(channel)
        if self._limits is not None:
            self._limits.connections.release(channel.key)
        if self._all_closed is not None and not self.connections:
            if self._deadline is not None:
                self._deadline.cancel()
            done, self._all_closed = self._all_closed, None
            done.callback(None)

    # ------------------------------------------------------------ requests

    def serve(self, exchange: HTTPExchange) -> None:
        """Answer a request."""
        running = Deferred.fromCoroutine(self._serve(exchange))
        gone: Deferred[None] = exchange.notifyFinish()
        gone.addErrback(lambda failure: running.cancel())
        running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _serve(self, exchange: HTTPExchange) -> None:
        answer = await self._answer(exchange)
        channel = exchange.channel
        if answer.ends or self.stopping:
            channel.persistent = False
        exchange.setResponseCode(answer.status)
        for name, value in fields_of(answer).items():
            exchange.setHeader(name, value)
        exchange.setHeader("Date", datetimeToString())
        if not channel.persistent:
            exchange.setHeader("Connection", "close")
        exchange.write(answer.body)
        if answer.pieces is not None and exchange.method != b"HEAD":
            await self._stream(exchange, channel, answer)
        exchange.finish()

    async def _stream(self, exchange: HTTPExchange, channel: StrictChannel, answer: HTTPAnswer) -> None:
        """Send a large body as fast as the client takes it."""
        assert answer.pieces is not None
        try:
            async for piece in answer.pieces():
                exchange.write(piece)
                await channel.drained()
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the head is out; the client must see that the body is not whole
            self.application.failed(exchange.head, Failure())
            channel.abort()
            raise CancelledError from None

    async def _answer(self, exchange: HTTPExchange) -> HTTPAnswer:
        assert exchange.body is not None
        try:
            return await self.application.answer(HTTPRequest(exchange.head, exchange.body))
        except HTTPProblem as problem:
            return problem.answer
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a bug fails the request and not the server
            return self.application.failed(exchange.head, Failure())

    # ------------------------------------------------------------ the end

    def stop(self, grace: float) -> "Deferred[None]":
        """Close idle connections now, and those with a request behind its answer or after ``grace`` seconds.

        Fires when the last one is closed. Stop the port first.
        """
        self.stopping = True
        self.application.stop()
        for channel in list(self.connections):
            channel.end()
        if not self.connections:
            return succeed(None)
        self._all_closed = done = Deferred[None]()
        self._deadline = self.reactor.callLater(CLOSING, self._abort_idle, max(0.0, grace - CLOSING))
        return done

    def _abort_idle(self, left: float) -> None:
        """Reset the connections whose clients do not end them."""
        self._deadline = self.reactor.callLater(left, self._abort)
        for channel in list(self.connections):
            if not channel.is_busy:
                channel.abort()

    def _abort(self) -> None:
        self._deadline = None
        for channel in list(self.connections):
            channel.abort()
