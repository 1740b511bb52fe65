"""Checkers of others, from ``twistd mailserver --auth``: what they grant is an account of ours, or nothing.

Any checker for twisted.cred will do that takes names with passwords, or bearer tokens; strcred has some
by name.
"""

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from twisted.cred.checkers import ANONYMOUS, FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.python.failure import Failure

from mailserver.accounts.cred import IBearerToken
from mailserver.accounts.directory import Account, AccountDirectory
from mailserver.errors import StorageError
from mailserver.events.accounts import AvatarUnknown, CheckerFailed
from mailserver.events.base import report


async def ask(
    checkers: Sequence[ICredentialsChecker], credentials: ICredentials, directory: AccountDirectory
) -> Account | None:
    """The account that the first of the checkers to know such credentials, and these, grants.

    Raises :class:`~mailserver.errors.StorageError` if none grants any, and one of them could not tell.
    """
    broken = False
    for checker in checkers:
        if not any(interface.providedBy(credentials) for interface in checker.credentialInterfaces):
            continue
        try:
            avatar = await maybeDeferred(checker.requestAvatarId, credentials)
        except UnauthorizedLogin:
            continue
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is made of, the next one may know
            report(CheckerFailed(checker=type(checker).__name__), Failure())
            broken = True
            continue
        account = _account(avatar, directory, IBearerToken.providedBy(credentials))
        if account is not None:
            return account
        report(AvatarUnknown(checker=type(checker).__name__, avatar=avatar))
    if broken:
        raise StorageError("another checker cannot be asked for now")
    return None


def _account(avatar: object, directory: AccountDirectory, by_token: bool) -> Account | None:
    if avatar == ANONYMOUS or not isinstance(avatar, bytes | str):
        return None
    name = avatar.decode("utf-8", "replace") if isinstance(avatar, bytes) else avatar
    # With a password came a name, which most checkers give back as it was typed; a token has its own.
    return directory.vouched(name) if by_token else directory.named(name)


def make_absolute(checkers: Iterable[ICredentialsChecker]) -> None:
    """Have the files of checkers found from anywhere: twistd leaves the folder it was started in."""
    for checker in checkers:
        if isinstance(checker, FilePasswordDB):
            checker.filename = str(Path(checker.filename).absolute())


def problems(checkers: Iterable[ICredentialsChecker]) -> list[str]:
    """What is wrong with the files of checkers that read one; a line for each."""
    found = []
    for checker in checkers:
        if isinstance(checker, FilePasswordDB):
            path = Path(str(checker.filename))
            reason = why_not_private(path)
            if reason:
                found.append(f"--auth file:{path}: {reason}")
    return found


# At the start it is read as root, later as the server's user.
_FOR_ITS_GROUP = "give it to the group of the server's user (chgrp) and take it from others (chmod 640)"


def why_not_private(path: Path) -> str | None:
    """Why a file with secrets in it cannot be used; None if it can.

    The group may read it: that is how a server without privileges gets at it.
    """
    try:
        status = path.stat()
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    if status.st_mode & stat.S_IROTH:
        return f"everybody can read the secrets in it; {_FOR_ITS_GROUP}"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody can change it; {_FOR_ITS_GROUP}"
    return None
