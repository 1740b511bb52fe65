"""The reception of each listener for mail, from the configuration in force."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from mailserver.config.keys.top_level import Config
from mailserver.config.schema.mail_kinds import Network
from mailserver.interfaces import IMailFetcher, IQueueStarter, IRouter, ISpool
from mailserver.mail.ids import new_id
from mailserver.reception.reception import Reception

ACCEPT_MAIL = ("smtp", "submission", "lmtp")  # protocols


class Receptions:
    """The receptions of all listeners for mail, of ``local`` programs, and of the ``web``.

    A connection uses the reception in force when it begins. ``section`` has the limits of messages."""

    def __init__(
        self,
        config: Config,
        router: IRouter,
        spool: ISpool,
        checks: Callable[[Config, Collection[Network]], Sequence[object]],
        starter: IQueueStarter,
        fetcher: IMailFetcher,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        """``checks`` returns the checks in their order; clients in its networks may relay. ``now`` and
        ``new_id``: see :class:`~mailserver.reception.reception.Reception`."""
        self._started = config
        self._router = router
        self._spool = spool
        self._checks = checks
        self._starter = starter
        self._fetcher = fetcher
        self._now = now
        self._new_id = new_id
        self._commit(config, self._made(config))

    def of(self, number: int) -> Reception:
        """The reception of the listener with this number, from 0."""
        return self._receptions[number]

    def _made(self, config: Config) -> Mapping[int, Reception]:
        # The listeners and the hostname last from the start.
        return {
            number: self._make(config, number, listen.protocol)
            for number, listen in enumerate(self._started.listen)
            if listen.protocol in ACCEPT_MAIL
        }

    def _make(self, config: Config, number: int, protocol: str) -> Reception:
        submission = protocol == "submission"
        # A client of LMTP relays only after a login, wherever it is.
        relays = config.relay.networks if protocol != "lmtp" else ()
        return Reception(
            self._router,
            self._spool,
            self._checks(config, relays),
            hostname=self._started.hostname,
            listener=f"listen[{number + 1}]",
            complete_header=submission,
            remove_bcc=config.submission.remove_bcc,
            hide_client=submission and config.submission.hide_client,
            starter=self._starter,
            fetcher=self._fetcher,
            now=self._now,
            new_id=self._new_id,
        )

    def _make_local(self, config: Config) -> Reception:
        """The reception of messages from local programs."""
        return Reception(
            self._router,
            self._spool,
            self._checks(config, config.relay.networks),
            hostname=self._started.hostname,
            listener="sendmail",
            complete_header=True,
            remove_bcc=True,
        )

    def _make_web(self, config: Config) -> Reception:
        """The reception of messages from clients of the web, as from users of a mail program."""
        return Reception(
            self._router,
            self._spool,
            self._checks(config, config.relay.networks),
            hostname=self._started.hostname,
            listener="web",
            complete_header=True,
            remove_bcc=config.submission.remove_bcc,
            hide_client=config.submission.hide_client,
        )

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return partial(self._commit, config, self._made(config))

    def _commit(self, config: Config, receptions: Mapping[int, Reception]) -> None:
        self._receptions = receptions
        self.local = self._make_local(config)
        self.web = self._make_web(config)
        self.section = config.smtp
