"""What a fixture has seen: messages, relayed messages, sessions. Tests wait here, by condition.

The reactor's thread and the thread of the spool add, any thread reads and waits.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from mailserver.mail.address import Address
from mailserver.mail.envelope import Envelope
from mailserver.testing.message import CaughtMessage
from mailserver.testing.sessions import Session

_RECEIVED_ID = re.compile(rb"\bid ([0-9a-z]{16})\b")
_HEAD = 4096  # octets at the beginning that have our own trace fields
_RETURN_PATH = re.compile(rb"\AReturn-Path: <([^>\r\n]*)>")
_MOST_SHOWN = 20  # messages or sessions in a report
_MOST_ENTRIES = 200  # of one session in a report

T = TypeVar("T")


@attrs.frozen
class InboxMark:
    """A moment in the life of an inbox: how many messages and sessions it had."""

    messages: int = 0
    sessions: int = 0


_BEGINNING = InboxMark()


class Inbox:
    """Messages and sessions in the order of their arrival."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._changes = 0
        self._messages: list[CaughtMessage] = []  # those of the outbox, too
        self._uids: dict[CaughtMessage, str] = {}
        self._sessions: list[Session] = []
        self._envelopes: dict[str, Envelope] = {}
        self._session_of: dict[str, Session] = {}
        self._listeners: list[Callable[[], object]] = []
        self._returned: list[tuple[object, list[object]]] = []

    # ------------------------------------------------------------ for the server

    def began(self, session: Session) -> None:
        """A client has connected."""
        with self._condition:
            self._sessions.append(session)
            self._notify()

    def changed(self) -> None:
        """Something of a session has changed."""
        with self._condition:
            self._notify()

    def _notify(self) -> None:
        self._changes += 1
        self._condition.notify_all()
        for changed in self._listeners:
            changed()

    def comes_by(self, id: str, session: Session) -> None:
        """The message with this id arrives by this session."""
        self._session_of[id] = session

    def note(self, envelope: Envelope) -> None:
        """A message with this envelope is about to arrive."""
        self._envelopes[envelope.id] = envelope

    def arrived(self, mailbox: Address, uid: str, octets: bytes, when: float) -> None:
        """A message is in a mailbox, and visible there."""
        head = octets[:_HEAD]
        ids = [found.decode() for found in _RECEIVED_ID.findall(head)]
        id = next((each for each in ids if each in self._envelopes), uid)
        message = self._caught(id, str(mailbox), octets, when)
        with self._condition:
            self._messages.append(message)
            self._uids[message] = uid
            self._notify()

    def relayed(self, id: str, sender: str, recipients: Sequence[str], octets: bytes, when: float) -> None:
        """A message has been relayed."""
        message = CaughtMessage(id, sender, tuple(recipients), "", octets, when, self._session_of.get(id))
        with self._condition:
            self._messages.append(message)
            self._notify()

    def _caught(self, id: str, mailbox: str, octets: bytes, when: float) -> CaughtMessage:
        envelope = self._envelopes.get(id)
        if envelope is not None:
            sender = str(envelope.reverse_path or "")
            recipients = tuple(map(str, envelope.recipients))
        else:
            path = _RETURN_PATH.match(octets)
            sender = path[1].decode(errors="replace") if path is not None else ""
            recipients = (mailbox,)
        return CaughtMessage(id, sender, recipients, mailbox, octets, when, self._session_of.get(id))

    def renamed(self, uids: dict[str, str]) -> None:
        """The messages have new unique-ids."""
        with self._condition:
            self._uids = {message: uids.get(uid, uid) for message, uid in self._uids.items()}

    # ------------------------------------------------------------ for those who wait

    def listen(self, changed: Callable[[], object]) -> None:
        """Call ``changed`` after each change, in the thread that makes it. It must not block or raise."""
        with self._condition:
            self._listeners.append(changed)

    def unlisten(self, changed: Callable[[], object]) -> None:
        """Do not call ``changed`` any more."""
        with self._condition:
            self._listeners.remove(changed)

    def returned(self, conditions: object) -> list[object]:
        """What waits with equal conditions have returned. The caller adds to it."""
        with self._condition:
            for known, found in self._returned:
                if known == conditions:
                    return found
            self._returned.append((conditions, []))
            return self._returned[-1][1]

    # ------------------------------------------------------------ for tests

    @property
    def caught(self) -> list[CaughtMessage]:
        """All messages, those of the outbox, too."""
        with self._condition:
            return list(self._messages)

    @property
    def messages(self) -> list[CaughtMessage]:
        """All messages that came into a mailbox, also those that a client has removed since."""
        return [message for message in self.caught if message.mailbox]

    @property
    def outbox(self) -> list[CaughtMessage]:
        """All messages that were relayed."""
        return [message for message in self.caught if not message.mailbox]

    @property
    def mark(self) -> InboxMark:
        """What is here now."""
        with self._condition:
            return InboxMark(len(self._messages), len(self._sessions))

    @property
    def sessions(self) -> list[Session]:
        """All sessions."""
        with self._condition:
            return list(self._sessions)

    def uid(self, message: CaughtMessage) -> str:
        """The unique-id of a message in its mailbox. Raises KeyError."""
        return self._uids[message]

    def wait(self, condition: Callable[[], T | None], timeout: float) -> T | None:
        """Wait until ``condition`` returns something, for at most ``timeout`` seconds.

        It runs without the lock, so it may talk to the server.
        """
        end = time.monotonic() + timeout
        while True:
            seen = self._changes
            if (found := condition()) is not None or time.monotonic() >= end:
                return found
            with self._condition:
                while self._changes == seen and (left := end - time.monotonic()) > 0:
                    self._condition.wait(left)

    def report(self, since: InboxMark = _BEGINNING) -> str:
        """What did arrive, and the dialogues of the sessions, for the text of a failure. The last ones of
        each, if there are many."""
        lines = []
        caught = self.caught[since.messages :]
        messages = [message for message in caught if message.mailbox]
        relayed = [message for message in caught if not message.mailbox]
        for title, found in (("messages", messages), ("relayed messages", relayed)):
            lines.append(f"{title}: {len(found) or 'none'}")
            lines += [f"  {message.summary()}" for message in found[-_MOST_SHOWN:]]
        sessions = self.sessions[since.sessions :]
        lines.append(f"sessions: {len(sessions) or 'none'}")
        lines += [each.transcript.dialogue(_MOST_ENTRIES).rstrip() for each in sessions[-_MOST_SHOWN:]]
        return "\n".join(lines)
