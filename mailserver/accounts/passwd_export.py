"""Writes accounts as a passwd-file of Dovecot: names, hashes, and the folders of the mailboxes.

    line = name ":{" scheme "}" hash ":" uid ":" gid "::" home "::" LF

Only accounts that may log in with a password of their own have a line. App passwords are not in it: Dovecot
compares octet for octet, and one password for each name.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator

from mailserver.accounts.directory import Account
from mailserver.accounts.passwords import StoredPassword
from mailserver.mail.address import Address

_ESCAPED = re.compile(r"""(['"\\])""")


def passwd_lines(account: Account, uid: int, gid: int, home: str) -> Iterator[str]:
    """The lines of an account, none if Dovecot could not let it in."""
    password = None if account.disabled or account.password is None else _written(account.password)
    # A quoted local part may have a colon, and no line can have one in a name.
    if password is None or ":" in account.key:
        return
    # Dovecot 2.3 looks a name up with a backslash before each quote.
    for name in {account.key, _ESCAPED.sub(r"\\\1", account.key)}:
        yield f"{name}:{password}:{uid}:{gid}::{home}::\n"


def passwd_file(accounts: Iterable[Account], uid: int, gid: int, home_of: Callable[[Address], str]) -> str:
    """The lines of all accounts, in the order of their names."""
    return "".join(
        sorted(line for one in accounts for line in passwd_lines(one, uid, gid, home_of(one.address)))
    )


def _written(password: StoredPassword) -> str | None:
    """The password in the notation of Dovecot, None for a scheme that Dovecot does not know."""
    if password.scheme == "none" or password.scheme == "apr_md5_crypt":
        return None
    if password.scheme == "plain":
        # In base64, as a plain password may have a colon.
        return f"{{PLAIN.B64}}{base64.b64encode(password.value.encode()).decode()}"
    if password.value.startswith("$argon2i$"):
        return f"{{ARGON2I}}{password.value}"
    return password.text
