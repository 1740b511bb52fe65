"""Performs ``mailserver account rename`` and ``domain rename`` in a running server.

``commands.renaming`` has the order of the steps. Nobody is logged in to the mailboxes meanwhile. When the new
names are in force in all workers, new mail goes to the new mailbox. What their spools have put into the old
one before is synced first, so that no message is written there after the move, not even by a recovery.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack

from twisted.internet.defer import Deferred

from mailserver.app.tasks import Tasks
from mailserver.cluster.interfaces import IPeers
from mailserver.control.channel import CommandFailed, CommandOutcome, Request
from mailserver.errors import MaildropInUse, StorageError
from mailserver.events.accounts import AccountProblem
from mailserver.events.base import report
from mailserver.interfaces import IMailboxStore, IMaildrop, IMaildrops
from mailserver.mail.address import Address
from mailserver.queue.spool import Spool
from mailserver.threads.pool import Threads

Pairs = list[tuple[Address, Address]]

FLUSH = "flush the spool"
"""The request to another worker to commit and sync all messages that it has received."""


class Renaming:
    """``run`` performs a command about accounts; its change is in force in all workers when it fires."""

    def __init__(
        self,
        run: Callable[[Request], "Deferred[CommandOutcome]"],
        store: IMailboxStore,
        maildrops: IMaildrops,
        spool: Spool,
        threads: Threads,
        tasks: Tasks,
        peers: IPeers,
    ) -> None:
        self._run = run
        self._store = store
        self._maildrops = maildrops
        self._spool = spool
        self._threads = threads
        self._tasks = tasks
        self._peers = peers
        peers.serve(FLUSH, lambda _: Deferred.fromCoroutine(spool.flush()))

    def open(self, finish: Callable[[], None]) -> None:
        """Complete the moves that a crash has interrupted: ``finish`` does it, and blocks. Call this when the
        own spool is recovered. With other workers, the moves wait until these have recovered theirs."""
        if self._peers.others:
            self._tasks.start(self._finish(finish))
        else:
            finish()

    async def _finish(self, finish: Callable[[], None]) -> None:
        try:
            await self._peers.ask_others(FLUSH)
        except StorageError as error:
            reason = f"mailboxes are moved to their new names only at the next start of the server: {error}"
            report(AccountProblem(reason=reason))
            return
        await self._threads.run_long(finish)

    async def run(self, request: Request) -> CommandOutcome:
        """Perform the command. Raises :class:`~mailserver.errors.MailserverError`."""
        pairs = read_pairs(await self._run({**request, "rehearse": True}))
        for old, new in pairs:
            await self._threads.run_long(self._store.check_move, old, new)
        with ExitStack() as locks:
            for mailbox in dict.fromkeys(mailbox for pair in pairs for mailbox in pair):
                locks.callback((await self._locked(mailbox)).release)
            outcome = await self._run(request)
            try:
                await self._spool.flush()
                await self._peers.ask_others(FLUSH)
                for old, new in pairs:
                    await self._threads.run_long(self._store.move, old, new)
            except StorageError as error:
                raise CommandFailed(
                    f"{outcome.lines[0]}; but its mail is moved only at the next start of the server: {error}"
                ) from error
        return outcome

    async def _locked(self, mailbox: Address) -> IMaildrop:
        try:
            maildrop: IMaildrop = await self._maildrops.maildrop(mailbox)
        except MaildropInUse:
            raise CommandFailed(f"a POP3 session has locked the mailbox {mailbox}; try again") from None
        return maildrop


def read_pairs(rehearsed: CommandOutcome) -> Pairs:
    """The mailboxes that move, from the outcome of a rehearsal."""
    return [(Address.parse(old), Address.parse(new)) for old, new in json.loads(rehearsed.lines[0])]
