"""The resolver, with the section [dns] of the configuration in force."""

from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailserver.config.keys.top_level import Config
from mailserver.dns.interfaces import IResolver
from mailserver.dns.records import DNSAnswer, RecordKind
from mailserver.dns.resolver import Resolver
from mailserver.interfaces import IReactor


@implementer(IResolver)
class CurrentResolver:
    """Asks the servers in force. A change of the section clears the cache, but not the ``counts``."""

    def __init__(self, config: Config, reactor: IReactor) -> None:
        self.counts: Counter[tuple[RecordKind, str]] = Counter()
        self._reactor = reactor
        self._section = config.dns
        self._resolver = Resolver(config.dns, reactor, counts=self.counts)

    def lookups(self) -> dict[tuple[str, str], int]:
        """The number of lookups by kind and result, see :class:`~mailserver.dns.resolver.Resolver`."""
        return dict(self.counts.items())

    def lookup(self, name: str, kind: RecordKind) -> Deferred[DNSAnswer]:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""
        return self._resolver.lookup(name, kind)

    def known(self, name: str, kind: RecordKind) -> DNSAnswer | None:
        """See :class:`~mailserver.dns.interfaces.IResolver`."""
        return self._resolver.known(name, kind)

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return lambda: self._commit(config)

    def _commit(self, config: Config) -> None:
        if config.dns != self._section:
            self._section = config.dns
            self._resolver = Resolver(config.dns, self._reactor, counts=self.counts)
