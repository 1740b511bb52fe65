"""What servers that share a database look for every few seconds: mail and accounts that others have left or
changed."""

from functools import partial

from twisted.application.internet import TimerService
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred

from mailserver.app.accounts import AccountService
from mailserver.config.keys.top_level import Config
from mailserver.interfaces import IReactor
from mailserver.queue.polling import look_at_queue
from mailserver.queue.spool import Spool

INTERVAL = 5  # seconds


def sharing(config: Config, spool: Spool, accounts: AccountService, reactor: IReactor) -> IService:
    """The service that looks. It does nothing for an engine that one server has alone."""
    shared = MultiService()
    if config.storage.engine == "postgresql":
        for look in (partial(look_at_queue, spool, reactor), accounts.look_again):
            timer = TimerService(INTERVAL, lambda look=look: Deferred.fromCoroutine(look()))
            timer.clock = reactor
            timer.setServiceParent(shared)
    return shared
