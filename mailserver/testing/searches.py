"""What a test waits for: how to find it, and what to say if it does not come."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from mailserver.testing.inbox import Inbox
from mailserver.testing.matching import Match
from mailserver.testing.message import CaughtMessage
from mailserver.testing.sessions import Session

T = TypeVar("T")


@attrs.frozen
class Search(Generic[T]):
    """``look`` returns what is there, None for nothing. ``missing`` says what is not there."""

    inbox: Inbox
    look: Callable[[], T | None]
    missing: Callable[[], str]

    def failure(self, timeout: float) -> AssertionError:
        """It did not come within so many seconds: the failure, with all that did."""
        return AssertionError(f"{self.missing()} within {timeout:g} s\n{self.inbox.report()}")

    def unexpected(self, found: CaughtMessage) -> AssertionError:
        """It is there and should not."""
        return AssertionError(f"there is a message that matches: {found.summary()}\n{self.inbox.report()}")


def found_messages(inbox: Inbox, match: Match) -> list[CaughtMessage]:
    """The messages that match, in a mailbox or in the outbox, the oldest first."""
    return [each for each in inbox.caught if match.matches(each)]


def a_message(inbox: Inbox, conditions: Mapping[str, Any]) -> Search[CaughtMessage]:
    """The first message that matches. Raises TypeError for an unknown condition."""
    match = Match.of(**conditions)
    return Search(
        inbox,
        lambda: next(iter(found_messages(inbox, match)), None),
        lambda: f"no message with {match.describe()}",
    )


def so_many_messages(inbox: Inbox, count: int, conditions: Mapping[str, Any]) -> Search[list[CaughtMessage]]:
    """At least ``count`` messages that match. Raises TypeError for an unknown condition."""
    match = Match.of(**conditions)

    def look() -> list[CaughtMessage] | None:
        found = found_messages(inbox, match)
        return found if len(found) >= count else None

    return Search(
        inbox,
        look,
        lambda: f"{len(found_messages(inbox, match))} of {count} messages with {match.describe()}",
    )


def a_session(
    inbox: Inbox, protocol: str | None = None, account: str | None = None, closed: bool | None = True
) -> Search[Session]:
    """The first session that matches; None matches all."""
    wanted = {"protocol": protocol, "account": account, "closed": closed}
    named = {name: value for name, value in wanted.items() if value is not None}

    def look() -> Session | None:
        for session in inbox.sessions:
            if all(getattr(session, name) == value for name, value in named.items()):
                return session
        return None

    told = ", ".join(f"{name}={value!r}" for name, value in named.items())
    return Search(inbox, look, lambda: f"no session with {told}")
