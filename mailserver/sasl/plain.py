"""Mechanisms that send the password itself: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login).

    message = [authzid] UTF8NUL authcid UTF8NUL passwd    ; PLAIN

The name is prepared (RFC 4013), but not the password: its stored hash, which may be imported from another
server, may be made from either form, and only the accounts can try both.
"""

from mailserver.sasl.coding import MAX_SECRET, to_name, to_text
from mailserver.sasl.prep import prepared
from mailserver.sasl.steps import Challenge, CheckPassword, Granted, LoginFailed, Reason, Steps


def plain() -> Steps:
    """PLAIN."""
    message: bytes = yield Challenge(b"")
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise LoginFailed(Reason.MALFORMED)
    authzid, authcid, passwd = parts
    acting_as = to_name(authzid) if authzid else ""
    return (yield from check_password(to_name(authcid), passwd, acting_as))


def login() -> Steps:
    """LOGIN, with the usual prompts."""
    name: bytes = yield Challenge(b"Username:")
    password: bytes = yield Challenge(b"Password:")
    return (yield from check_password(to_name(name), password))


def check_password(name: str, password: bytes, acting_as: str = "") -> Steps:
    """Check the password. An empty one is always wrong (RFC 4616 section 2)."""
    try:
        text = to_text(password, MAX_SECRET)
    except LoginFailed as failure:
        # It also counts as a failed login under this name.
        raise LoginFailed(failure.reason, name) from None
    if not prepared(text):
        raise LoginFailed(Reason.CREDENTIALS, name)
    granted: Granted = yield CheckPassword(name, text, acting_as)
    return granted.account
