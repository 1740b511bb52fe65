"""The reception of each SMTP listener, from the configuration in force."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mailserver.config.keys.top_level import Config
from mailserver.interfaces import IMailFetcher, IQueueStarter, IRouter, ISpool
from mailserver.reception.reception import Reception

ACCEPT_MAIL = ("smtp", "submission")  # protocols


class Receptions:
    """The receptions of all SMTP listeners, and of ``local`` programs. A connection uses the reception in
    force when it begins. ``section`` has the limits of messages."""

    def __init__(
        self,
        config: Config,
        router: IRouter,
        spool: ISpool,
        checks: Callable[[Config], Sequence[object]],
        starter: IQueueStarter,
        fetcher: IMailFetcher,
    ) -> None:
        """``checks`` returns the checks in their order."""
        self._started = config
        self._router = router
        self._spool = spool
        self._checks = checks
        self._starter = starter
        self._fetcher = fetcher
        self._commit(config, self._made(config))

    def of(self, number: int) -> Reception:
        """The reception of the listener with this number, from 0."""
        return self._receptions[number]

    def _made(self, config: Config) -> Mapping[int, Reception]:
        # The listeners and the hostname last from the start.
        return {
            number: self._make(config, number, submission=listen.protocol == "submission")
            for number, listen in enumerate(self._started.listen)
            if listen.protocol in ACCEPT_MAIL
        }

    def _make(self, config: Config, number: int, *, submission: bool) -> Reception:
        return Reception(
            self._router,
            self._spool,
            self._checks(config),
            hostname=self._started.hostname,
            listener=f"listen[{number + 1}]",
            complete_header=submission,
            remove_bcc=config.submission.remove_bcc,
            hide_client=submission and config.submission.hide_client,
            starter=self._starter,
            fetcher=self._fetcher,
        )

    def _make_local(self, config: Config) -> Reception:
        """The reception of messages from local programs."""
        return Reception(
            self._router,
            self._spool,
            self._checks(config),
            hostname=self._started.hostname,
            listener="sendmail",
            complete_header=True,
            remove_bcc=True,
        )

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return partial(self._commit, config, self._made(config))

    def _commit(self, config: Config, receptions: Mapping[int, Reception]) -> None:
        self._receptions = receptions
        self.local = self._make_local(config)
        self.section = config.smtp
