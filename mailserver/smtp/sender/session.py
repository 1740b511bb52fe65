"""A session that sends mail to a server (RFC 5321, RFC 2033), without socket, clock or disk.

The caller gives input to :meth:`SenderSession.receive`, takes events from :meth:`SenderSession.next_event`
until it returns None, and then sends what :meth:`SenderSession.take_output` returns. It does the same after
each other call. The parts of the session: ``states`` (its table), ``core``, ``opening`` (until the first
message), ``transaction`` (one message).
"""

from mailserver.smtp.sender.content import ChunkedContent, DotContent
from mailserver.smtp.sender.core import ClientCommand
from mailserver.smtp.sender.events import CloseCause, ContentWanted, Fate, MailDone, RecipientResult
from mailserver.smtp.sender.opening import SessionOpening
from mailserver.smtp.sender.replies import ServerReply
from mailserver.smtp.sender.settings import OutgoingMail, SenderSettings
from mailserver.smtp.sender.states import SenderState, Trigger
from mailserver.smtp.sender.transaction import UNDEFINED, OutgoingTransaction

_CONTENT_IS_OVER = frozenset((SenderState.ENDING, SenderState.IDLE, SenderState.LEAVING, SenderState.CLOSED))


class SenderSession(SessionOpening):
    """A client's session with one server.

    ``extensions`` has the extensions that the server offers now. ``replies`` is the number of replies read.
    ``closed``: the session has ended.
    """

    __slots__ = ("_content", "_dirty", "_mails", "_transaction")

    def __init__(self, settings: SenderSettings) -> None:
        super().__init__(settings)
        self._transaction: OutgoingTransaction | None = None
        self._content: DotContent | ChunkedContent | None = None
        self._mails = 0
        self._dirty = False  # the server needs RSET before another message

    # ------------------------------------------------------------ for callers

    @property
    def idle(self) -> bool:
        """Whether ``send`` may be called: the session is ready, and no message is under way.

        False once the server's limit of messages per session (MAILMAX, RFC 9422) is reached.
        """
        limit = self.extensions.max_mails
        return self.state is SenderState.IDLE and (limit is None or self._mails < limit)

    def send(self, mail: OutgoingMail) -> None:
        """Begin a message. Raises RuntimeError unless :attr:`idle`."""
        if not self.idle:
            raise RuntimeError("the session is not ready for a message")
        transaction = OutgoingTransaction(mail, self.extensions, encrypted=self.encrypted)
        if not transaction.to_try:
            self._events.append(MailDone(transaction.all_results()))
            return
        self._transaction = transaction
        self._mails += 1
        self._go(Trigger.MAIL_BEGUN)
        if self._dirty:
            self._planned.append((RSET, b"RSET"))
        self._planned.append((MAIL, transaction.mail_command()))
        self._planned.extend([(RCPT, line) for line in transaction.rcpt_commands()])
        if self.extensions.takes_chunks:
            self._content = ChunkedContent(binary=mail.binary)
        else:
            self._content = DotContent()
            self._planned.append((DATA, b"DATA"))
        self._send_planned()

    def write(self, chunk: bytes) -> None:
        """Add content, in pieces of any size. Take the output after each call; write more when it is sent.

        Ignored if the message has been decided meanwhile. Raises RuntimeError if no content was wanted.
        """
        if self._may_write():
            assert self._content is not None
            data = self._content.feed(chunk)
            if data:
                self._output.append(data)
                if self._chunked:
                    self._awaited.append(CHUNK)

    def end(self) -> None:
        """The content is complete. Ignored, or raises RuntimeError, as :meth:`write` does."""
        if self._may_write():
            assert self._content is not None and self._transaction is not None
            self._output.append(self._content.finish())
            self._awaited.append(END)
            self._transaction.whole = True
            self._go(Trigger.CONTENT_ENDED)

    def abandon(self) -> None:
        """Give up the message that is under way, if there is one: the server accepts nothing.

        The results are ``UNTRIED``, or ``UNCERTAIN`` after ``end``. Except between chunks of BDAT, only the
        end of the connection stops the server from accepting the message, so this ends the session.
        """
        text = "the message was abandoned"
        transaction = self._transaction
        if transaction is None:
            return
        if self.state is SenderState.CONTENT and self._chunked:
            transaction.decide(
                range(len(transaction.results)), RecipientResult(Fate.UNTRIED, UNDEFINED, text)
            )
            trigger = self._stop()
            if trigger is not None:
                self._go(trigger)
        else:
            self._output.clear()
            self._close(CloseCause.ABANDONED, text)

    def quit(self) -> None:
        """End the session between messages. Raises RuntimeError at any other time."""
        if not self.closed:
            self._go(Trigger.QUIT)
            self._send(QUIT, b"QUIT")

    # ------------------------------------------------------------ replies to the envelope

    def rset_replied(self, reply: ServerReply) -> None:
        if reply.code // 100 != 2:
            self._close(CloseCause.REFUSED, f"the server rejects RSET: {reply}", reply)

    def mail_replied(self, reply: ServerReply) -> Trigger | None:
        transaction = self._current(reply)
        if transaction is None:
            return None
        transaction.mail_replied(reply)
        self._dirty = not transaction.rejects_sender
        return self._settle(transaction)

    def rcpt_replied(self, reply: ServerReply) -> Trigger | None:
        transaction = self._current(reply)
        if transaction is None:
            return None
        transaction.rcpt_replied(reply)
        return self._settle(transaction)

    def _settle(self, transaction: OutgoingTransaction) -> Trigger | None:
        """Look whether the replies so far decide about the content."""
        if not transaction.settled:
            return None
        if not transaction.wanted:
            return self._stop()
        return self._want_content() if self._chunked and self.state is SenderState.ENVELOPE else None

    def data_replied(self, reply: ServerReply) -> Trigger | None:
        if reply.code == 354:
            return self._content_accepted()
        transaction = self._current(reply, (4, 5))
        if transaction is None:
            return None
        transaction.message_replied(reply)
        return self._stop()

    def _content_accepted(self) -> Trigger | None:
        transaction = self._transaction
        assert transaction is not None
        if transaction.wanted:
            return self._want_content()
        if transaction.accepted or self._settings.protocol == "lmtp":
            # The end of an empty message would be accepted for somebody, or get no reply.
            self._violated("the server accepts DATA after it has rejected the envelope")
            return None
        # A server may reject all recipients and nevertheless accept DATA (RFC 2920 section 3.1).
        self._output.append(b".\r\n")
        self._awaited.append(END)
        return Trigger.CONTENT_ENDED

    # ------------------------------------------------------------ replies to the content

    def chunk_replied(self, reply: ServerReply) -> Trigger | None:
        transaction = self._current(reply)
        if transaction is None:
            return None
        if reply.code // 100 == 2:
            return self._stop() if self.state is SenderState.ENDING else None
        # RFC 3030 section 2: the transaction has failed, and chunks in the pipeline are discarded.
        transaction.message_replied(reply)
        if transaction.whole and self._settings.protocol == "lmtp":
            # Whether one reply follows, or one for each recipient, no RFC says.
            self._close(CloseCause.REFUSED, f"the server rejects the content: {reply}", reply)
            return None
        return self._stop()

    def end_replied(self, reply: ServerReply) -> Trigger | None:
        transaction = self._current(reply)
        if transaction is None:
            return None
        self._dirty = self._chunked and reply.code // 100 != 2
        if self._settings.protocol == "lmtp":
            if transaction.next_recipient_replied(reply):
                self._awaited.append(END)
        else:
            transaction.message_replied(reply)
        return self._stop()

    def quit_replied(self, reply: ServerReply) -> None:
        self._close(CloseCause.QUIT, "the session has ended", reply)

    # ------------------------------------------------------------ the message

    @property
    def _chunked(self) -> bool:
        return type(self._content) is ChunkedContent

    def _may_write(self) -> bool:
        if self.state is SenderState.CONTENT:
            return True
        if self.state not in _CONTENT_IS_OVER:
            raise RuntimeError(f"no content is wanted (state: {self.state.value})")
        return False

    def _current(self, reply: ServerReply, kinds: tuple[int, ...] = (2, 4, 5)) -> OutgoingTransaction | None:
        """The transaction, None if the reply makes no sense in it: that ends the session."""
        if reply.code // 100 in kinds:
            return self._transaction
        self._violated(f"the server sends a reply that makes no sense here: {reply}", reply)
        return None

    def _want_content(self) -> Trigger | None:
        if self._chunked and len(self._reader):
            # A reply too many would be taken for that to the content. DATA has its own code, 354.
            self._violated("the server sends more replies than there are commands")
            return None
        self._events.append(ContentWanted())
        return Trigger.CONTENT_WANTED

    def _stop(self) -> Trigger | None:
        """Nothing more is sent for this message. It is over once no reply is awaited."""
        self._planned.clear()
        if self._awaited:
            return Trigger.CONTENT_STOPPED if self.state is SenderState.CONTENT else None
        self._finish()
        return Trigger.DECIDED

    def _finish(self) -> None:
        transaction, self._transaction, self._content = self._transaction, None, None
        assert transaction is not None
        self._events.append(MailDone(transaction.all_results()))

    def _unexpected(self, reply: ServerReply) -> None:
        transaction = self._transaction
        if transaction is not None and not self._chunked and reply.code // 100 in (4, 5):
            # A server may reject a message before its end, and only the end of the connection stops it then.
            transaction.message_replied(reply)
            self._close(CloseCause.REFUSED, f"the server rejects the content: {reply}", reply)
        else:
            self._violated(f"the server sends a reply to nothing: {reply}", reply)

    def _closing(self, text: str, reply: ServerReply | None) -> None:
        if self._transaction is not None:
            self._transaction.give_up(text, reply)
            self._finish()


RSET = ClientCommand("the reply to RSET", 300, SenderSession.rset_replied)
MAIL = ClientCommand("the reply to MAIL", 300, SenderSession.mail_replied)
RCPT = ClientCommand("the reply to RCPT", 300, SenderSession.rcpt_replied)
DATA = ClientCommand("the reply to DATA", 120, SenderSession.data_replied)
CHUNK = ClientCommand("the reply to BDAT", 180, SenderSession.chunk_replied)
END = ClientCommand("the reply to the end of the content", 600, SenderSession.end_replied, final=True)
QUIT = ClientCommand("the reply to QUIT", 30, SenderSession.quit_replied, final=True)
