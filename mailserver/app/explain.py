"""The command ``explain``: a message through the reception as a dry run, in a process of its own.

It uses the checks that the configuration describes, the accounts and the history as they are on the disk, and
real DNS. It counts, stores and logs nothing.
"""

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailserver.accounts.history import LIFETIMES
from mailserver.accounts.sqlite.history import stored_entries
from mailserver.app.alone import run_alone
from mailserver.app.data import history_file
from mailserver.app.effective import EffectiveAccounts
from mailserver.app.incoming_checks import mail_checks
from mailserver.app.receptions import ACCEPT_MAIL
from mailserver.app.reputation import ReputationChecks
from mailserver.app.sender_checks import sender_checks
from mailserver.app.signing import Signing
from mailserver.app.storage import mailbox_store, read_accounts
from mailserver.commands.explanation import DrySpool, Explanation, UncountedLimits
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.dns.resolver import Resolver
from mailserver.durable.damaged import DamagedFolder
from mailserver.durable.disk import Disk
from mailserver.interfaces import IReactor
from mailserver.mail.address import Address, ReversePath, format_path
from mailserver.mail.seen import Seen, SeenKey
from mailserver.mail.verdict import Accept, Defer, Moved, Refuse, Routed
from mailserver.policy.history import Found
from mailserver.policy.signing import DKIMSigning
from mailserver.reception.receiver import MailReceiver
from mailserver.reception.reception import Reception
from mailserver.reception.transaction import Client
from mailserver.routing.router import Router
from mailserver.smtp.verdicts import recipient_reply, reply_for, sender_reply
from mailserver.threads.pool import Threads


@attrs.frozen(kw_only=True)
class Supposed:
    """The message that is supposed to come."""

    ip: str
    helo: str
    sender: ReversePath
    recipient: Address
    login: Address | None = None
    message: bytes = b""


@attrs.frozen
class Explained:
    """The lines of the outcome, and whether the message would be accepted."""

    lines: tuple[str, ...]
    accepted: bool


class UnchangedHistory:
    """The history of contacts on the disk, which is read and not changed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, *keys: SeenKey) -> Found:
        """See :class:`~mailserver.policy.history.History`."""
        now = time.time()
        found = stored_entries(self._path, keys)
        return {key: seen for key, seen in found.items() if now - seen.last < LIFETIMES[key[0]]}

    def record(self, key: SeenKey, seen: Seen) -> None:
        """Record nothing."""


class DryRun:
    """One run of the command."""

    def __init__(self, path: Path, supposed: Supposed) -> None:
        """Raises :class:`~mailserver.errors.ConfigurationError`."""
        self._config = load(path, os.environ)
        self._signing = Signing(path, self._config)
        self._supposed = supposed
        self._explanation = Explanation()

    def run(self) -> Explained:
        """Do it. The process must not have run its reactor yet. Raises OSError and StorageError."""
        accepted = run_alone(self._run)
        return Explained(tuple(self._explanation.lines), accepted)

    async def _run(self, reactor: IReactor) -> bool:
        supposed, explanation = self._supposed, self._explanation
        receiver = MailReceiver(self._reception(reactor))
        login = f", logged in as {supposed.login}" if supposed.login else ""
        client = Client(
            ip=supposed.ip,
            limit_key=supposed.ip,
            helo=supposed.helo,
            protocol="ESMTP",
            account=supposed.login,
        )
        explanation.stage(f"client {supposed.ip}, EHLO {supposed.helo}{login}")
        explanation.stage(f"MAIL FROM:{format_path(supposed.sender)}")
        verdict: Any = await _now(receiver.sender(client, supposed.sender, {}))
        if not isinstance(verdict, Accept):
            return self._over(sender_reply(verdict).octets, verdict)
        explanation.stage(f"RCPT TO:{format_path(supposed.recipient)}")
        verdict = await _now(receiver.recipient(supposed.recipient, {}))
        if not isinstance(verdict, Routed):
            return self._over(recipient_reply(verdict, False).octets, verdict)
        explanation.stage("DATA")
        if not supposed.message:
            explanation.note("no --message: a short one is used, whose author is the sender")
        if self._config.policy.milter:
            explanation.note("the mail filters are not asked (policy.milter)")
        receiver.start()
        receiver.write(supposed.message or self._short_message())
        verdict = await receiver.finish()
        if not isinstance(verdict, Accept):
            return self._over(reply_for(verdict).octets, verdict)
        explanation.end("the message would be accepted")
        return True

    def _over(self, reply: bytes, verdict: Defer | Refuse | Moved) -> bool:
        key = "routing" if isinstance(verdict, Moved) else verdict.key
        word = "deferred" if isinstance(verdict, Defer) else "rejected"
        lines = [f"{line[:3]} {line[4:]}" for line in reply.decode(errors="replace").splitlines()]
        text = " / ".join(lines)
        self._explanation.end(f"the message would be {word}: {text}" + (f" ({key})" if key else ""))
        return False

    def _short_message(self) -> bytes:
        author = self._supposed.sender or Address("mailer-daemon", self._supposed.helo)
        return f"From: <{author}>\r\nTo: <{self._supposed.recipient}>\r\n\r\n\r\n".encode()

    # ------------------------------------------------------------ the parts

    def _reception(self, reactor: IReactor) -> Reception:
        config, explanation, threads = self._config, self._explanation, Threads(reactor)
        disk = Disk()
        accounts = self._accounts()
        resolver = explanation.resolver(Resolver(config.dns, reactor))
        router = explanation.router(Router(accounts.table))
        store = mailbox_store(
            config,
            disk,
            DamagedFolder(config.data / "damaged", disk),
            lambda mailbox: accounts.quotas.get(mailbox.key),
            reactor,
            threads,
        )
        checks = mail_checks(
            config,
            config.relay.networks,
            limits=UncountedLimits(),
            router=router,
            room=store,
            accepts_no_mail=lambda domain: False,
            signing=DKIMSigning(self._signing.keys, threads.run, time.time),
            reputation=ReputationChecks(
                resolver=resolver, reactor=reactor, history=UnchangedHistory(history_file(config.data))
            ),
            senders=partial(sender_checks, resolver=resolver, clock=reactor),
            filters=lambda config: (),  # they would count the message
        )
        return Reception(
            router,
            DrySpool(),
            [explanation.check(check) for check in checks],
            hostname=config.hostname,
            listener=_listener(config),
        )

    def _accounts(self) -> EffectiveAccounts:
        config = self._config
        store = read_accounts(config)
        return EffectiveAccounts.of(config, *store.everything())


def _listener(config: Config) -> str:
    """The first listener for mail."""
    for number, listen in enumerate(config.listen, 1):
        if listen.protocol in ACCEPT_MAIL:
            return f"listen[{number}]"
    return "listen[1]"


# Any: the verdicts of senders and recipients have no type in common.
async def _now(result: Any) -> Any:
    return await result if isinstance(result, Deferred) else result
