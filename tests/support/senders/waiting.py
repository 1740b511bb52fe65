"""Messages of the fake internet that wait, or not, by what the server knows of their senders."""

from functools import partial

import attrs

from tests.support.senders.internet import EVIL, FORWARDER, GOOD
from tests.support.senders.mail import dkim, mail
from tests.support.senders.situations import SIGNED

OK, GREYLISTED, FIRST = "250", "policy.greylist", "policy.first_contact"


@attrs.frozen
class Waiting:
    """``key`` is the key that defers the message, "250" if none does; ``at`` is the stage. ``event`` is in
    the log. ``marked``: the message has the field for first contacts."""

    name: str
    message: bytes
    sender: str
    key: str = OK
    at: str = attrs.field(default="RCPT", kw_only=True)
    event: str = attrs.field(default="", kw_only=True)
    marked: bool = attrs.field(default=False, kw_only=True)
    ip: str = attrs.field(default=GOOD, kw_only=True)
    to: str = attrs.field(default="alice@example.org", kw_only=True)


# What comes before: this message has waited and passed, and alice has written to FRIEND.
BEFORE = Waiting("before", SIGNED, "a@good.example")
FRIEND = "friend@friend.example"

forwarded = partial(Waiting, ip=FORWARDER, sender="a@good.example")
stranger = partial(Waiting, ip=EVIL, sender="x@evil.example")

GREYLIST = [
    stranger("unknown", mail("x@evil.example"), key=GREYLISTED),
    stranger("signed by an unknown domain", dkim(mail("x@evil.example"), "evil.example"), key=GREYLISTED),
    forwarded(
        "forwarded, signed by a known domain",
        SIGNED,
        event="<a@good.example> from 198.51.100.7 is spared greylisting: signed by good.example",
    ),
    forwarded("forwarded, not signed", mail(), key=GREYLISTED, at="DATA"),
    forwarded("forwarded, changed", SIGNED + b"more\r\n", key=GREYLISTED, at="DATA"),
    Waiting("known sender", mail(), "a@good.example"),
    Waiting("other sender of a known domain", mail("b@good.example"), "b@good.example", GREYLISTED),
    stranger("correspondent", mail(FRIEND), sender=FRIEND),
    stranger("null sender", mail("x@evil.example"), sender=""),
    stranger("to the postmaster", mail("x@evil.example"), to="postmaster@example.org"),
]
CONTACT = [
    stranger("first contact", mail("x@evil.example"), key=FIRST),
    Waiting("heard before", mail(), "a@good.example"),
    Waiting("another author", mail("b@good.example"), "b@good.example", FIRST),
    forwarded("heard before, forwarded", mail()),
    stranger("correspondent", mail(FRIEND), sender=FRIEND),
    stranger("null sender", mail("x@evil.example"), sender=""),
    stranger(
        "to the postmaster",
        mail("y@evil.example"),
        sender="y@evil.example",
        to="postmaster@example.org",
        marked=True,
    ),
]
