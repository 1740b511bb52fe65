"""Mechanisms that send the password itself: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login).

    message = [authzid] UTF8NUL authcid UTF8NUL passwd    ; PLAIN

The name is prepared (RFC 4013), the password goes on as it was typed: what is kept of it may have been
made of either form, by this server or by the one that its hash was imported from, and only the
accounts' side can try both.
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
    """LOGIN, with the prompts that all clients know."""
    name: bytes = yield Challenge(b"Username:")
    password: bytes = yield Challenge(b"Password:")
    return (yield from check_password(to_name(name), password))


def check_password(name: str, password: bytes, acting_as: str = "") -> Steps:
    """Ask whether the password is right; an empty one never is (RFC 4616 section 2)."""
    try:
        text = to_text(password, MAX_SECRET)
    except LoginFailed as failure:
        # It is a failed login under this name all the same.
        raise LoginFailed(failure.reason, name) from None
    if not prepared(text):
        raise LoginFailed(Reason.CREDENTIALS, name)
    granted: Granted = yield CheckPassword(name, text, acting_as)
    return granted.account
