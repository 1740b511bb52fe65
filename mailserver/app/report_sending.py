"""Puts the daily reports to other domains into the spool."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from mailserver.errors import StorageError
from mailserver.interfaces import IRouter, ISpool
from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.mail.verdict import Destination, Routed


class ReportSending:
    """Sends reports with the null reverse-path, so that nothing comes back. ``sign`` adds signatures."""

    def __init__(self, spool: ISpool, router: IRouter, sign: Callable[[bytes], bytes]) -> None:
        self._spool = spool
        self._router = router
        self._sign = sign

    def send(self, id: str, to: Sequence[Address], content: bytes) -> Deferred[None]:
        """Put a message into the spool, for those of its recipients that are known.

        Fails with :class:`~mailserver.errors.StorageError`.
        """
        return Deferred.fromCoroutine(self._put(id, to, content))

    async def _put(self, id: str, to: Sequence[Address], content: bytes) -> None:
        destinations: list[Destination] = []
        for address in to:
            routed = self._router.route(address)
            if isinstance(routed, Deferred):
                routed = await routed
            if isinstance(routed, Routed):
                destinations += routed.destinations
        if not destinations:
            raise StorageError("no address of the report can get mail")
        incoming = self._spool.receive(Envelope(id, None, tuple(to), tuple(destinations)), b"")
        waiting = incoming.write(self._sign(content))
        if waiting is not None:
            await waiting
        await incoming.commit()
