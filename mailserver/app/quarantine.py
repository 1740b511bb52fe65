"""The mailboxes and the times of the quarantine, from the configuration."""

from collections.abc import Callable

from mailserver.commands.quarantine import QuarantineRules
from mailserver.config.keys.top_level import Config
from mailserver.mail.quarantine import quarantine_of


class CurrentQuarantine:
    """Returns the rules in force when it is called."""

    def __init__(self, config: Config) -> None:
        self._commit(config)

    def __call__(self) -> QuarantineRules:
        return self._rules

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""
        return lambda: self._commit(config)

    def _commit(self, config: Config) -> None:
        mailboxes = tuple(map(quarantine_of, config.domains))
        self._rules = QuarantineRules(mailboxes, config.quarantine.expire_after)
