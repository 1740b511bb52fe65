"""Events of the accounts and of those who vouch for them."""

from mailserver.events.base import Event, event


@event
class AccountProblem(Event):
    """Something about the accounts or aliases does not work as it is configured."""

    text = "{reason}"
    level = "warn"
    reason: str


@event
class AccountNotWritten(Event):
    """The time of a login, or a new hash, cannot be written; the login succeeds nevertheless."""

    text = "an account's record could not be written"
    level = "critical"


@event
class CheckerFailed(Event):
    """An external checker has failed unexpectedly; the next one is asked."""

    text = "{checker} failed"
    level = "critical"
    checker: str


@event
class AvatarUnknown(Event):
    """An external checker lets somebody in who has no account, or a disabled one; the login is rejected."""

    text = "login rejected: {checker} returned {avatar!r}, which is no account or a disabled one"
    level = "warn"
    checker: str
    avatar: object


@event
class TokenKeysRead(Event):
    """The keys of access tokens are read again."""

    text = "{path}: read again (keys: {count})"
    path: object
    count: int


@event
class TokenKeysUnusable(Event):
    """The keys of access tokens cannot be read again; the previous ones stay in force."""

    text = "{path}: {reason}; the keys read before stay in force"
    level = "error"
    path: object
    reason: str
