"""Senders and POP3 clients that keep a server busy, and what they were answered."""

import poplib
import re
import smtplib
import threading
from contextlib import suppress

import attrs

from tests.support.e2e.mailbox import SENDER
from tests.support.e2e.server import DOMAIN, PASSWORD, Server

_TOKEN = re.compile(r"^Subject: (\S+)\r?$", re.MULTILINE)
ENDS = (OSError, EOFError, smtplib.SMTPException, poplib.error_proto)
"""What a client gets when its server is killed."""


def tokens(octets: bytes) -> list[str]:
    """The names of the messages that these octets begin."""
    return _TOKEN.findall(octets.decode("ascii", "replace"))


@attrs.frozen
class Answered:
    """Messages that were accepted, those whose removal was answered, and those it was asked for."""

    accepted: frozenset[str]
    removed: frozenset[str]
    asked: frozenset[str]


class Load:
    """``senders`` send at most ``most`` messages each, to the mailboxes by turns; a POP3 client of each
    mailbox removes one message at a time."""

    def __init__(self, server: Server, senders: int, boxes: list[str], most: int) -> None:
        self._most = most
        self._server = server
        self._boxes = boxes
        self._lock = threading.Lock()
        self._accepted: set[str] = set()
        self._removed: set[str] = set()
        self._asked: set[str] = set()
        self._stop = threading.Event()
        self.failed: list[BaseException] = []
        self._threads = [
            *(threading.Thread(target=self._run, args=(self._send, number)) for number in range(senders)),
            *(threading.Thread(target=self._run, args=(self._fetch, number)) for number in range(len(boxes))),
        ]

    def _run(self, work: object, number: int) -> None:
        try:
            while not self._stop.is_set():
                work(number)  # type: ignore[operator]
        except ENDS as error:
            if not self._stop.is_set():
                self.failed.append(error)
        except BaseException as error:  # noqa: BLE001 - told to the test, which is in another thread
            self.failed.append(error)

    def _send(self, number: int) -> None:
        count = 0
        with smtplib.SMTP(*self._server.smtp, timeout=60) as client:
            while not self._stop.is_set():
                if count == self._most:
                    self._stop.wait()
                    return
                token, box = f"s{number}x{count}", self._boxes[(number + count) % len(self._boxes)]
                size = 100_000 if count % 10 == 9 else 100
                body = b"Subject: %s\r\n\r\n%s\r\n" % (token.encode(), b"x" * 70 + b"\r\n" + b"y" * 70)
                body += (b"z" * 70 + b"\r\n") * (size // 72)
                client.sendmail(SENDER, [f"{box}@{DOMAIN}"], body)
                count += 1
                with self._lock:
                    self._accepted.add(token)

    def _fetch(self, number: int) -> None:
        client = poplib.POP3(*self._server.pop3, timeout=60)
        client.user(f"{self._boxes[number]}@{DOMAIN}")
        client.pass_(PASSWORD)
        if client.stat()[0] < 2:
            client.quit()
            return
        (token,) = tokens(b"\r\n".join(client.top(1, 0)[1]))
        client.dele(1)
        with self._lock:
            self._asked.add(token)
        client.quit()
        with self._lock:
            self._removed.add(token)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """The clients end; what breaks from now on is no failure."""
        self._stop.set()

    def join(self) -> None:
        with suppress(RuntimeError):  # some may not have been started
            for thread in self._threads:
                thread.join()
        assert self.failed == []

    def now(self) -> Answered:
        """The answers so far."""
        with self._lock:
            return Answered(*map(frozenset, (self._accepted, self._removed, self._asked)))
