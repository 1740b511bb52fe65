"""Events of accounts, external checkers and token keys."""

from mailserver.events.base import Event, event


@event
class AccountProblem(Event):
    """An account or an alias does not work as configured."""

    text = "{reason}"
    level = "warn"
    reason: str


@event
class AccountNotWritten(Event):
    """The time of a login, or a new hash, cannot be written. The login succeeds nevertheless."""

    text = "cannot write to the account database; the login succeeds"
    level = "critical"


@event
class PasswdFileNotWritten(Event):
    """The server cannot write the passwd-file for Dovecot, which keeps the old accounts."""

    text = "{path}: passwd-file not written: {reason}"
    level = "error"
    path: object
    reason: str


@event
class CheckerFailed(Event):
    """An external checker has failed unexpectedly. The server asks the next one."""

    text = "external checker {checker} failed"
    level = "critical"
    checker: str


@event
class AvatarUnknown(Event):
    """An external checker accepts a login for an unknown or disabled account. The server rejects it."""

    text = "login rejected: {checker} returned {avatar!r}: account unknown or disabled"
    level = "warn"
    checker: str
    avatar: object


@event
class TokenKeysRead(Event):
    """The server has reloaded the keys of access tokens."""

    text = "{path}: token keys reloaded (keys: {count})"
    path: object
    count: int


@event
class TokenKeysUnusable(Event):
    """The server cannot reload the keys of access tokens. The old ones stay in force."""

    text = "{path}: {reason}; the old keys stay in force"
    level = "error"
    path: object
    reason: str
