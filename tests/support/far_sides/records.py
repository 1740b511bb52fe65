"""What a far side has received and what it has said: messages, sessions, and what was wrong with them."""

import attrs


@attrs.frozen
class TLSFacts:
    """TLS as the far side sees it. ``name`` is the server name that the client asked for (SNI)."""

    version: str
    cipher: str
    name: str


@attrs.define(eq=False)
class Session:
    """One connection. ``hello`` is the last EHLO, HELO or LHLO with its argument; ``user`` has logged in.

    ``dialogue`` has the commands, and the replies behind "< ". ``quit``: the client has said QUIT.
    """

    client: str
    began: float
    hello: str = ""
    user: str = ""
    tls: TLSFacts | None = None
    quit: bool = False
    over: bool = False
    dialogue: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Recipient:
    """A recipient, with the parameters of its RCPT in upper case, and the reply."""

    address: str
    parameters: dict[str, str]
    reply: str = ""

    @property
    def accepted(self) -> bool:
        return self.reply.startswith("2")


@attrs.define(eq=False)
class Transaction:
    """A transaction from MAIL on.

    ``content`` is without dot-stuffing. ``complete``: all of the content has arrived. ``kept``: the far side
    delivers it to all accepted recipients. ``answers`` are the replies to the end of the content that were
    sent before the connection ended; in LMTP each is then the reply of its recipient, too.
    """

    session: Session
    began: float
    sender: str
    parameters: dict[str, str]
    recipients: list[Recipient] = attrs.field(factory=list)
    content: bytes = b""
    complete: bool = False
    kept: bool = False
    answers: list[str] = attrs.field(factory=list)

    @property
    def accepted(self) -> list[str]:
        return [one.address for one in self.recipients if one.accepted]
