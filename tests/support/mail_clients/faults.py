"""The faults that every client meets: how each is scripted, and what a careful client makes of it.

``script`` is what a test writes; ``server`` is its :class:`~mailserver.testing.MailServer` with these
``settings``. The page shows it as it is. ``between`` is what happens before the client runs again.
"""

from typing import Any

import attrs

from tests.support.mail_clients.verdicts import Verdict

ONCE, AGAIN, REPORTED, TWICE = Verdict.ONCE, Verdict.AGAIN, Verdict.REPORTED, Verdict.TWICE


@attrs.frozen
class ClientFault:
    """One fault. ``careful``: what can be asked of a client.

    ``tls``: the kind that the client insists on. ``recipients``: how many the
    message has; the last one is "bad@example.test". ``again``: whether a sender runs again after a failure; a
    fetcher always does. ``dotted``: lines of the messages begin with a dot.
    """

    name: str
    script: str
    careful: tuple[Verdict, ...]
    between: str = ""
    settings: dict[str, Any] = attrs.field(factory=dict)
    tls: str = ""
    login: bool = False
    recipients: int = 1
    again: bool = True
    dotted: bool = False


BAD = "bad@example.test"

SENDING = (
    ClientFault("no fault, a line that begins with a dot", "", (ONCE,), dotted=True),
    ClientFault(
        "the server does not listen", "server.smtp.refuse()", (AGAIN,), between="server.smtp.listen()"
    ),
    ClientFault(
        "421 in place of the greeting",
        'server.smtp.on("greeting").reply(421, "4.3.2", "try later").close().times(1)',
        (AGAIN,),
    ),
    ClientFault("no greeting", 'server.smtp.on("greeting").hang().times(1)', (AGAIN,)),
    ClientFault(
        "502 to EHLO, as very old servers say it",
        'server.smtp.on("EHLO").reply(502, "5.5.1", "no such command").times(1)',
        (ONCE,),
    ),
    ClientFault(
        "STARTTLS is stripped, and the client insists",
        "",
        (REPORTED,),
        settings={"tls": "stripped"},
        tls="starttls",
        login=True,
        again=False,
    ),
    ClientFault(
        "STARTTLS is refused, and the client insists",
        'server.smtp.on("STARTTLS").reply(454, "4.7.0", "no TLS now").times(1)',
        (AGAIN,),
        tls="starttls",
        login=True,
    ),
    ClientFault(
        "the certificate has expired",
        "",
        (REPORTED,),
        settings={"tls": "expired"},
        tls="starttls",
        login=True,
        again=False,
    ),
    ClientFault(
        "the TLS handshake is cut",
        'server.smtp.on("tls").cut().times(1)',
        (AGAIN,),
        tls="starttls",
        login=True,
    ),
    ClientFault(
        "AUTH fails for now",
        'server.smtp.on("AUTH").reply(454, "4.7.0", "try later").times(1)',
        (AGAIN, ONCE),
        login=True,
    ),
    ClientFault(
        "RCPT fails for now", 'server.smtp.on("RCPT").reply(451, "4.2.1", "busy").times(1)', (AGAIN,)
    ),
    ClientFault(
        "one of two recipients is refused",
        'server.smtp.on("RCPT", "bad@").reply(550, "5.1.1", "no such user").times(1)',
        (REPORTED, Verdict.NOBODY),
        recipients=2,
        again=False,
    ),
    ClientFault(
        "421 to RCPT, and the connection is closed",
        'server.smtp.on("RCPT").reply(421, "4.3.2", "shutting down").close().times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "DATA fails for now", 'server.smtp.on("DATA").reply(451, "4.3.0", "try later").times(1)', (AGAIN,)
    ),
    ClientFault("reset within the message", 'server.smtp.on("DATA", at=5000).reset().times(1)', (AGAIN,)),
    ClientFault(
        "452 to the final dot",
        'server.smtp.on("dot").reply(452, "4.3.1", "disk full").times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "554 to the final dot",
        'server.smtp.on("dot").reply(554, "5.7.1", "looks like spam").times(1)',
        (REPORTED,),
        again=False,
    ),
    ClientFault("reset at the final dot, nothing stored", 'server.smtp.on("dot").reset().times(1)', (AGAIN,)),
    ClientFault(
        "**the 250 is lost**: stored, then reset", 'server.smtp.on("stored").reset().times(1)', (TWICE,)
    ),
    ClientFault(
        "**the 250 is lost**: stored, then silence", 'server.smtp.on("stored").hang().times(1)', (TWICE,)
    ),
    ClientFault(
        "the 250 is cut after `25`, then the connection is closed",
        'server.smtp.on("stored").truncate(2).close().times(1)',
        (TWICE,),
    ),
    ClientFault(
        "one reply too many: a second 250 to RCPT",
        'server.smtp.on("RCPT").extra(250, "2.1.5", "Ok").times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "one reply too many: a 250 before the message, then 452 to the final dot",
        'server.smtp.on("DATA").extra(250, "2.0.0", "Ok").times(1); '
        'server.smtp.on("dot").reply(452, "4.3.1", "disk full").times(1)',
        (AGAIN,),
    ),
    ClientFault("reset at QUIT", 'server.smtp.on("QUIT").reset().times(1)', (ONCE,)),
    ClientFault(
        "421 to QUIT", 'server.smtp.on("QUIT").reply(421, "4.3.2", "shutting down").close().times(1)', (ONCE,)
    ),
)

FETCHING = (
    ClientFault("no fault, a line that begins with a dot", "", (ONCE,), dotted=True),
    ClientFault(
        "the server does not listen", "server.pop3.refuse()", (AGAIN,), between="server.pop3.listen()"
    ),
    ClientFault("no greeting", 'server.pop3.on("greeting").hang().times(1)', (AGAIN,)),
    ClientFault(
        "the certificate has expired",
        "",
        (REPORTED,),
        settings={"tls": "expired"},
        tls="implicit",
    ),
    ClientFault(
        "STLS is stripped, and the client insists",
        "",
        (REPORTED,),
        settings={"tls": "stripped"},
        tls="starttls",
    ),
    ClientFault(
        "the maildrop is locked",
        'server.pop3.hide("SASL"); server.pop3.on("PASS").locked().times(1)',
        (AGAIN,),
        settings={"auth": {"mechanisms": ["PLAIN"]}},
    ),
    ClientFault("all sizes are wrong", 'server.pop3.on("LIST").lie(1000)', (ONCE,)),
    ClientFault(
        "LIST is cut, and the connection closed",
        'server.pop3.on("LIST").truncate(40).close().times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "UIDL is refused", 'server.pop3.on("UIDL").reply("-ERR", "no unique-ids").times(1)', (ONCE, AGAIN)
    ),
    ClientFault(
        "reset within the second message",
        'server.pop3.on("RETR", "^2", at=5000).delay("0.3s").reset().times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "the connection is closed within the second message",
        'server.pop3.on("RETR", "^2", at=5000).delay("0.3s").close().times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "-ERR to RETR of the second message",
        'server.pop3.on("RETR", "^2").reply("-ERR", "no such message").times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "the second message comes empty",
        'server.pop3.on("RETR", "^2").reply("+OK", "0 octets", "").times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "the second message takes four seconds",
        'server.pop3.on("RETR", "^2").drip(6000).times(1)',
        (ONCE,),
    ),
    ClientFault(
        "-ERR to the first DELE", 'server.pop3.on("DELE").reply("-ERR", "cannot").times(1)', (AGAIN,)
    ),
    ClientFault(
        "one reply too many: a second +OK to DELE",
        'server.pop3.on("DELE").extra("+OK", "deleted").times(1)',
        (ONCE, AGAIN),
    ),
    ClientFault("no reply to the first DELE", 'server.pop3.on("DELE").silence().times(1)', (AGAIN,)),
    ClientFault("reset at QUIT, nothing removed", 'server.pop3.on("QUIT").reset().times(1)', (AGAIN,)),
    ClientFault(
        "**the +OK to QUIT is lost**: removed, then reset",
        'server.pop3.on("removed").reset().times(1)',
        (ONCE, AGAIN),
    ),
    ClientFault(
        "**the +OK to QUIT is lost**: removed, then silence",
        'server.pop3.on("removed").hang().times(1)',
        (ONCE, AGAIN),
    ),
    ClientFault(
        "-ERR to QUIT, nothing removed",
        'server.pop3.on("QUIT").reply("-ERR", "[SYS/TEMP] not removed").close().times(1)',
        (AGAIN,),
    ),
    ClientFault(
        "reset at QUIT, and all UIDLs are new afterwards",
        'server.pop3.on("QUIT").reset().times(1)',
        (TWICE,),
        between="server.reset_uidls(ADDRESS)",
    ),
)
