"""Alerts: tells the administrator of what cannot wait until somebody reads the log.

It observes the events of the server. Each alert is an event of its own, a mail to the postmaster, and a POST
to the webhook, as the section [alerts] says.
"""

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from mailserver.cluster.alone import ALONE
from mailserver.cluster.interfaces import FIRST, IPeers
from mailserver.config.keys.alerts import AlertsSection
from mailserver.config.keys.top_level import Config
from mailserver.errors import one_line
from mailserver.events.alerts import AlertNotSent, AlertRaised, QueueHeld
from mailserver.events.base import observe, report, stop_observing
from mailserver.events.connections import CommandRejected, LoginRejected
from mailserver.interfaces import IReactor, IRouter, ISpool
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import new_id
from mailserver.mail.verdict import Routed
from mailserver.net.expiring_table import ExpiringTable
from mailserver.queue.administration import Progress, QueueAdministration
from mailserver.queue.selection import Selection

ACCOUNT_LIMITS = ("limits.messages_per_account", "limits.recipients_per_account")
BLOCKED = "limits.auth_block"
MOST_KEYS = 10_000
MOST_AN_HOUR = 30  # alerts of all kinds; strangers can cause some
WEBHOOK_TIMEOUT = 20.0  # seconds
ALERT = "alert"  # the question to the first worker


@attrs.frozen
class Alert:
    """One alert. ``about`` is the account or the client that it is about."""

    kind: str
    about: str
    subject: str
    text: str


def alert_of(event: object) -> Alert | None:
    """The alert that an event gives reason for, if any."""
    match event:
        case CommandRejected(account=account, reason=reason, rule=rule, client=client) if (
            account and rule in ACCOUNT_LIMITS
        ):
            return Alert(
                "account-limit",
                account,
                f"{account} exceeds its sending limit",
                f"The server defers mail of the account {account} (client {client}): {reason} ({rule}). If "
                f"this is not the owner, change the password: mailserver account password {account}",
            )
        case LoginRejected(user=user, client=client, rule=rule) if rule == BLOCKED:
            return Alert(
                "password-guessing",
                f"{user} {client}",
                f"failed logins to {user}",
                f"The server rejects all logins of the client {client} to the account {user} for some time, "
                "after too many wrong passwords (limits.auth_block_after).",
            )
    return None


@implementer(ILogObserver)
class Alerts(Service):
    """Raises alerts while it runs."""

    def __init__(
        self,
        config: Config,
        reactor: IReactor,
        router: IRouter,
        spool: ISpool,
        administration: QueueAdministration,
        now: Callable[[], float] = time.time,
        *,
        peers: IPeers = ALONE,
    ) -> None:
        """The first of the ``peers`` raises the alerts that events of any worker give reason for."""
        self._peers = peers
        peers.serve(ALERT, self._consider)
        self._hostname = config.hostname
        self._section = config.alerts
        self._reactor: Any = reactor  # also an IReactorTCP for the webhook
        self._router = router
        self._spool = spool
        self._administration = administration
        self._now = now
        self._raised: ExpiringTable[tuple[str, str], None] = self._table(config.alerts)
        self._hour, self._count = 0.0, 0
        self._running: set[Deferred[None]] = set()

    def _table(self, section: AlertsSection) -> ExpiringTable[tuple[str, str], None]:
        return ExpiringTable(MOST_KEYS, section.interval, self._reactor.seconds)

    def startService(self) -> None:
        Service.startService(self)
        observe(self)

    def stopService(self) -> Deferred[None]:
        """Raise no more alerts, and finish those that have begun."""
        Service.stopService(self)
        stop_observing(self)
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        while self._running:
            await next(iter(self._running))

    async def prepare(self, config: Config) -> Callable[[], None]:
        """See :class:`~mailserver.app.reload.Component`."""

        def commit() -> None:
            self._section = config.alerts
            self._raised = self._table(config.alerts)

        return commit

    def __call__(self, event: LogEvent) -> None:
        """Take an event. Any thread may log."""
        if (alert := alert_of(event.get("log_event"))) is not None:
            self._reactor.callFromThread(self._noticed, alert)

    def _noticed(self, alert: Alert) -> None:
        if self._peers.number == FIRST:
            self._consider(alert)
        else:
            self._peers.tell(FIRST, ALERT, alert)

    def _consider(self, alert: Alert) -> None:
        key = alert.kind, alert.about
        if not self.running or self._raised.has(key) or not self._may_raise():
            return
        self._raised.put(key, None)
        report(AlertRaised(name=alert.kind, reason=alert.subject))
        for step in self._steps(alert):
            done = Deferred.fromCoroutine(step)
            self._running.add(done)
            done.addErrback(self._failed, alert).addBoth(self._over, done)

    def _may_raise(self) -> bool:
        now = self._reactor.seconds()
        if now - self._hour >= 3600:
            self._hour, self._count = now, 0
        self._count += 1
        return self._count <= MOST_AN_HOUR

    def _steps(self, alert: Alert) -> list[Any]:
        steps: list[Any] = []
        if self._section.hold and alert.kind == "account-limit":
            steps.append(self._hold(alert.about))
        if self._section.mail:
            steps.append(self._mail(alert))
        if self._section.webhook is not None:
            steps.append(self._post(alert, self._section.webhook.reveal()))
        return steps

    def _failed(self, failure: Any, alert: Alert) -> None:
        # The text of an error could have the URL of the webhook, which is a secret.
        report(AlertNotSent(name=alert.kind, error=type(failure.value).__name__))

    def _over(self, result: None, done: "Deferred[None]") -> None:
        self._running.discard(done)

    # ------------------------------------------------------------ what an alert does

    async def _hold(self, account: str) -> None:
        progress, count = Progress(), 0
        while progress.after is not None:
            progress = await self._administration.apply("hold", Selection(sender=account), progress)
            count = progress.messages
        report(QueueHeld(account=account, count=count, rule="alerts.hold"))

    async def _mail(self, alert: Alert) -> None:
        to = self._router.postmaster
        verdict = self._router.route(to)
        routed = await verdict if isinstance(verdict, Deferred) else verdict
        if not isinstance(routed, Routed):
            raise LookupError("the postmaster has no mailbox")
        id, now = new_id(), self._now()
        lines = [
            f"From: Mail Server <MAILER-DAEMON@{self._hostname}>",
            f"To: <{to}>",
            f"Subject: {one_line(alert.subject)[:200]}",
            f"Date: {formatdate(now)}",
            f"Message-ID: <{id}@{self._hostname}>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            one_line(alert.text),
            "",
            f"The log of {self._hostname} has the details. The section [alerts] of the configuration says",
            "when alerts are sent.",
            "",
        ]
        incoming = self._spool.receive(Envelope(id, None, (to,), routed.destinations), b"")
        incoming.write("\r\n".join(lines).encode())
        await incoming.commit()

    async def _post(self, alert: Alert, url: str) -> None:
        # Most servers never need it.
        from twisted.web.client import Agent, FileBodyProducer, readBody
        from twisted.web.http_headers import Headers

        body = json.dumps(
            {
                "kind": alert.kind,
                "subject": alert.subject,
                "text": alert.text,
                "hostname": self._hostname,
                "time": self._now(),
            }
        ).encode()
        agent: Any = Agent(self._reactor, connectTimeout=WEBHOOK_TIMEOUT)
        cooperator = Cooperator(scheduler=lambda step: self._reactor.callLater(0, step))
        producer = FileBodyProducer(BytesIO(body), cooperator)
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": ["mailserver"]})
        asked: Deferred[Any] = agent.request(b"POST", url.encode(), headers, producer)
        asked.addTimeout(WEBHOOK_TIMEOUT, self._reactor)
        response = await asked
        reading: Deferred[bytes] = readBody(response)
        reading.addTimeout(WEBHOOK_TIMEOUT, self._reactor)
        await reading
        if not 200 <= response.code < 300:
            raise ConnectionError(f"{urlsplit(url).hostname} answered {response.code}")
