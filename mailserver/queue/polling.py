"""Looks at a queue that several servers share: for messages of a server that has ended, and for those that
another server has deferred."""

import time

from mailserver.interfaces import IReactor
from mailserver.queue.spool import Spool
from mailserver.queue.window import SIZE
from mailserver.threads.pool import run_in_thread


async def look_at_queue(spool: Spool, reactor: IReactor) -> None:
    """Tell the runner of the spool of the destinations that are due."""
    try:
        due = await run_in_thread(reactor, spool.due, SIZE)
    except OSError:
        return  # the connections to the database have reported it
    now = time.time()
    spool.waits([destination for destination, when in due if when <= now], now)
