"""What goes into an evaluation of SPF and what comes out of it: the request and the result."""

from typing import Literal

import attrs

from mailserver.mail.address import ReversePath

SPFOutcome = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]


@attrs.frozen(kw_only=True)
class SPFRequest:
    """What is known of a client and its message (RFC 7208 section 4.1).

    ``ip`` is the IP address of the client, ``helo`` the argument of its HELO or EHLO command. The evaluation
    is for the domain of ``reverse_path``, the MAIL FROM identity (section 2.4). With the null reverse-path
    (None) it is for the domain of ``helo``, the HELO identity (section 2.3), with the sender
    ``postmaster@HELO``. ``receiver`` is the name of this server and ``time`` the time in seconds since 1970;
    only explanations use them.
    """

    ip: str
    helo: str
    reverse_path: ReversePath
    receiver: str = "unknown"
    time: int = 0


@attrs.frozen
class SPFResult:
    """The result for ``domain`` (section 2.6), which is any text of the client if the result is "none".

    ``mechanism`` is the term that decided, or that could not be evaluated, as the record has it; "" if there
    is none. ``explanation`` is the text of the domain for a client that fails (section 6.2), "" if there is
    none; it is printable ASCII, and a stranger wrote it. ``problem`` says in one line why the result is
    "none", "temperror" or "permerror"; else it is "". ``personal``: the record asks for the local part of the
    sender or for the time, so other messages of the domain may have another result.
    """

    result: SPFOutcome
    domain: str
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""
    personal: bool = attrs.field(default=False, eq=False)


class SPFSyntaxError(ValueError):
    """A record is malformed. The text says how; ``term`` is the malformed term, or ""."""

    def __init__(self, text: str, term: str = "") -> None:
        super().__init__(text)
        self.term = term
