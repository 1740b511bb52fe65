"""What a test waits for: how to find it, and what to say if it does not come."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from mailserver.faults.rules import is_same_account
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
    """The messages that match, in a mailbox or in the outbox, the oldest first.

    Raises ValueError if ``after`` is a message of another server.
    """
    caught = inbox.caught
    if match.after is not None:
        if match.after not in caught:
            raise ValueError("after= is not a message of this server")
        caught = caught[caught.index(match.after) + 1 :]
    return [each for each in caught if match.matches(each)]


def a_message(inbox: Inbox, conditions: Mapping[str, Any]) -> Search[CaughtMessage]:
    """The first message that matches. Raises TypeError for an unknown condition."""
    match = Match.of(**conditions)
    return Search(
        inbox,
        lambda: next(iter(found_messages(inbox, match)), None),
        lambda: f"no message with {match.describe()}",
    )


def next_message(inbox: Inbox, conditions: Mapping[str, Any]) -> Search[CaughtMessage]:
    """The first message that matches and that no search with the same conditions has found.

    With ``after`` it is the first one that matches. Raises TypeError for an unknown condition.
    """
    match = Match.of(**conditions)
    what = f"message with {match.describe()}"
    return _next(inbox, match, lambda: found_messages(inbox, match), what, anew=match.after is not None)


def _next(
    inbox: Inbox, conditions: object, find: Callable[[], list[T]], what: str, *, anew: bool = False
) -> Search[T]:
    """The first one that no search with the same conditions has found; ``anew``: the first one."""
    returned = inbox.returned(conditions)

    def look() -> T | None:
        for found in find():
            if anew or found not in returned:
                returned.append(found)
                return found
        return None

    def missing() -> str:
        if anew or not returned:
            return f"no {what}"
        return f"no further {what} ({len(returned)} returned before)"

    return Search(inbox, look, missing)


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


def exactly(
    count: int, search: Search[list[CaughtMessage]], found: list[CaughtMessage]
) -> list[CaughtMessage]:
    """The messages. Raises AssertionError if there are more than ``count``."""
    if len(found) > count:
        raise AssertionError(f"too many: {search.missing()}\n{search.inbox.report()}")
    return found


def a_session(
    inbox: Inbox, protocol: str | None = None, account: str | None = None, closed: bool | None = True
) -> Search[Session]:
    """The first session that matches; None matches all."""
    find, what = _sessions(inbox, protocol, account, closed)
    return Search(inbox, lambda: next(iter(find()), None), lambda: f"no {what}")


def next_session(
    inbox: Inbox, protocol: str | None = None, account: str | None = None, closed: bool | None = True
) -> Search[Session]:
    """The first session that matches and that no search with the same conditions has found."""
    find, what = _sessions(inbox, protocol, account, closed)
    return _next(inbox, (protocol, account, closed), find, what)


def _sessions(
    inbox: Inbox, protocol: str | None, account: str | None, closed: bool | None
) -> tuple[Callable[[], list[Session]], str]:
    """Finds the sessions that match, and a text about them."""
    wanted = {"protocol": protocol, "account": account, "closed": closed}
    named = {name: value for name, value in wanted.items() if value is not None}

    def find() -> list[Session]:
        return [
            each
            for each in inbox.sessions
            if protocol in (None, each.protocol)
            and closed in (None, each.closed)
            and (account is None or is_same_account(account, each.account))
        ]

    told = ", ".join(f"{name}={value!r}" for name, value in named.items())
    return find, f"session with {told}"
