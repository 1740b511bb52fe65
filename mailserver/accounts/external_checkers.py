"""Asks the checkers of ``twistd mailserver --auth``. The avatar id that they return must be an account here.

Any checker of twisted.cred is possible that accepts names with passwords, or bearer tokens; strcred knows
some by name.
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
    """The account of the first checker that accepts the credentials; None if there is none.

    Raises :class:`~mailserver.errors.StorageError` if no checker accepts them, and one of them failed.
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
        except Exception:  # noqa: BLE001 - a broken checker must not keep the next one from being asked
            report(CheckerFailed(checker=type(checker).__name__), Failure())
            broken = True
            continue
        account = _account(avatar, directory, IBearerToken.providedBy(credentials))
        if account is not None:
            return account
        report(AvatarUnknown(checker=type(checker).__name__, avatar=avatar))
    if broken:
        raise StorageError("an external checker is not available")
    return None


def _account(avatar: object, directory: AccountDirectory, by_token: bool) -> Account | None:
    if avatar == ANONYMOUS or not isinstance(avatar, bytes | str):
        return None
    name = avatar.decode("utf-8", "replace") if isinstance(avatar, bytes) else avatar
    # Most checkers return the name that came with the password, as typed. A token has a name of its own.
    return directory.vouched(name) if by_token else directory.named(name)


def make_absolute(checkers: Iterable[ICredentialsChecker]) -> None:
    """Make the paths of password files absolute: twistd changes the working directory later."""
    for checker in checkers:
        if isinstance(checker, FilePasswordDB):
            checker.filename = str(Path(checker.filename).absolute())


def problems(checkers: Iterable[ICredentialsChecker]) -> list[str]:
    """The problems of the password files of checkers, one line each."""
    found = []
    for checker in checkers:
        if isinstance(checker, FilePasswordDB):
            path = Path(str(checker.filename))
            reason = why_not_private(path)
            if reason:
                found.append(f"--auth file:{path}: {reason}")
    return found


# The file is read as root at the start, and as the server's user later.
_FOR_ITS_GROUP = "give it to the group of the server's user (chgrp) and take it from others (chmod 640)"


def why_not_private(path: Path) -> str | None:
    """Why a file with secrets must not be used; None if it may.

    The group may read it: a server without privileges needs that.
    """
    try:
        status = path.stat()
    except OSError as error:
        return str(error.strerror)
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_mode & stat.S_IROTH:
        return f"everybody can read the secrets in it; {_FOR_ITS_GROUP}"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody can change it; {_FOR_ITS_GROUP}"
    return None
