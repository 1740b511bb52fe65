"""What a far side understands of SMTP and LMTP: the commands and the content of one connection."""

import base64
import binascii
import re
from typing import TYPE_CHECKING

from tests.support.far_sides.connection import FarConnection
from tests.support.far_sides.records import Recipient, Session, Transaction

if TYPE_CHECKING:
    from tests.support.far_sides.far_side import FarSide

MOST = 2048  # octets of a command line: far more than any extension allows
PATH = re.compile(r"(FROM|TO):<([^\r\n]*?)>((?: [^ ]+)*)", re.I)
# The parameters of MAIL and RCPT, by the extension that allows them.
PARAMETERS = {
    "SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN",
    "ORCPT": "DSN", "AUTH": "AUTH", "REQUIRETLS": "REQUIRETLS", "MT-PRIORITY": "MT-PRIORITY",
    "BY": "DELIVERBY",
}  # fmt: skip


class Dialogue(FarConnection):
    """See the module."""

    def __init__(self, far: "FarSide", session: Session) -> None:
        super().__init__(far, session)
        self._read = self._read_command
        self._login: list[str] | None = None

    def greet(self) -> None:
        self._say(f"220 {self._far.name} {'LMTP' if self._far.lmtp else 'ESMTP'}")

    # ------------------------------------------------------------ commands

    def _offers(self, extension: str) -> bool:
        if extension == "AUTH":
            return bool(self._far.users)
        return any(one.split()[0] == extension for one in self._far.extensions)

    def _read_command(self) -> bool:
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            if len(self._buffer) > MOST:
                self._fault(f"{len(self._buffer)} octets without a line end")
                self._buffer = b""
            return False
        self._buffer = rest
        self._look_at_tls()
        text = line.decode("utf-8", "backslashreplace").removesuffix("\r")
        self._session.dialogue.append(text)
        if not line.endswith(b"\r"):
            self._fault("a line that ends in LF")
        if rest and not self._offers("PIPELINING"):
            self._fault("commands at once where PIPELINING is not offered")
        if self._login is not None:
            self._log_in(text)
            return True
        verb, _, argument = text.partition(" ")
        known = {
            "EHLO": self._hello, "HELO": self._hello, "LHLO": self._hello, "STARTTLS": self._starttls,
            "AUTH": self._auth, "MAIL": self._mail, "RCPT": self._rcpt, "DATA": self._data,
            "BDAT": self._bdat, "RSET": self._rset, "NOOP": self._noop, "QUIT": self._quit,
        }  # fmt: skip
        command = known.get(verb.upper())
        if command is None:
            self._say("500 5.5.2 what?")
        else:
            command(verb.upper(), argument)
        return True

    def _hello(self, verb: str, name: str) -> None:
        if (verb == "LHLO") != self._far.lmtp:
            self._at(verb, name, lambda: self._say("500 5.5.1 not in this protocol"))
            return

        def said(octets: bytes) -> None:
            if octets.startswith(b"2"):
                self._session.hello = f"{verb} {name}"
                self._transaction = None

        def usual() -> None:
            said(b"2")
            more = list(self._far.extensions)
            if self._far.tls is not None and self._session.tls is None:
                more.append("STARTTLS")
            if self._far.users:
                more.append("AUTH PLAIN")
            lines = [self._far.name, *(more if verb != "HELO" else [])]
            for number, line in enumerate(lines, 1):
                self._say(f"250{' ' if number == len(lines) else '-'}{line}")

        self._at(verb, name, usual, said)

    def _starttls(self, verb: str, argument: str) -> None:
        if self._far.tls is None and not any(rule.step == verb for rule in self._far.script):
            self._fault("STARTTLS, which is not offered")
        if self._buffer:
            self._fault("octets behind STARTTLS")

        def usual() -> None:
            self._say("220 2.0.0 go ahead")
            self._begin_tls()

        def said(octets: bytes) -> None:
            self._broken_tls = octets.startswith(b"2")

        self._at(verb, argument, usual, said)

    def _auth(self, verb: str, argument: str) -> None:
        mechanism, _, response = argument.partition(" ")
        if mechanism.upper() != "PLAIN" or not self._far.users:
            self._fault("AUTH that is not offered")
        self._login = []
        if response:
            self._log_in(response)
        else:
            self._say("334 ")

    def _log_in(self, response: str) -> None:
        self._login = None

        def usual() -> None:
            try:
                _, user, password = base64.b64decode(response, validate=True).decode().split("\0")
            except (binascii.Error, ValueError):
                self._say("501 5.5.2 not the form of PLAIN")
                return
            if self._far.users.get(user) == password:
                self._session.user = user
                self._say("235 2.7.0 welcome")
            else:
                self._say("535 5.7.8 no")

        self._at("AUTH", response, usual)

    def _path(self, verb: str, argument: str) -> tuple[str, dict[str, str]] | None:
        match = PATH.fullmatch(argument)
        if match is None:
            self._fault(f"not the form of {verb}")
            self._say("501 5.5.4 what?")
            return None
        words = (word.partition("=") for word in match[3].split())
        parameters = {name.upper(): value for name, _, value in words}
        for name in parameters:
            if not self._offers(PARAMETERS.get(name, "?")):
                self._fault(f"{name}, which is not offered")
        return match[2], parameters

    def _mail(self, verb: str, argument: str) -> None:
        if not self._session.hello:
            self._fault("MAIL before EHLO")
        if self._transaction is not None:
            self._fault("MAIL within a transaction")
        if (path := self._path(verb, argument)) is None:
            return
        transaction = Transaction(self._session, self._far.reactor.seconds(), *path)

        def said(octets: bytes) -> None:
            if octets.startswith(b"2") and self._transaction is not transaction:
                self._transaction = transaction
                self._far.transactions.append(transaction)

        def usual() -> None:
            if self._far.require_login and not self._session.user:
                self._say("530 5.7.0 authentication required")
                return
            said(b"2")
            self._say("250 2.1.0 ok")

        self._at(verb, argument, usual, said)

    def _rcpt(self, verb: str, argument: str) -> None:
        if self._transaction is None:
            self._at(verb, argument, lambda: self._say("503 5.5.1 MAIL first"))
            return
        if (path := self._path(verb, argument)) is None:
            return
        if not all(part.isascii() for part in path[0]) and "SMTPUTF8" not in self._transaction.parameters:
            self._fault("an address outside ASCII without SMTPUTF8")
        recipient = Recipient(*path)
        self._transaction.recipients.append(recipient)

        def usual() -> None:
            recipient.reply = "250 2.1.5 ok"
            self._say(recipient.reply)

        def said(octets: bytes) -> None:
            recipient.reply = octets.decode("latin-1").strip()

        self._at(verb, path[0], usual, said)

    def _rset(self, verb: str, argument: str) -> None:
        self._transaction = None
        self._at(verb, argument, lambda: self._say("250 2.0.0 ok"))

    def _noop(self, verb: str, argument: str) -> None:
        self._at(verb, argument, lambda: self._say("250 2.0.0 ok"))

    def _quit(self, verb: str, argument: str) -> None:
        self._session.quit = True

        def usual() -> None:
            self._say("221 2.0.0 bye")
            self._hang_up()

        self._at(verb, argument, usual)

    # ------------------------------------------------------------ content

    def _data(self, verb: str, argument: str) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.accepted:
            # in a pipeline the client cannot know (RFC 2920 section 3.1)
            self._at(verb, argument, lambda: self._say("503 5.5.1 RCPT first"))
            return
        if transaction.parameters.get("BODY", "").upper() == "BINARYMIME":
            self._fault("DATA with BODY=BINARYMIME")

        def begin(octets: bytes = b"3") -> None:
            if octets.startswith(b"3"):
                self._read = self._read_content

        def usual() -> None:
            self._say("354 go ahead")
            begin()

        self._at(verb, argument, usual, begin)

    def _read_content(self) -> bool:
        transaction = self._transaction
        assert transaction is not None
        *lines, self._buffer = self._buffer.split(b"\r\n")
        for number, line in enumerate(lines):
            if line == b".":
                self._buffer = b"\r\n".join([*lines[number + 1 :], self._buffer])
                self._check(transaction, dots=True)
                self._end(transaction)
                return True
            transaction.content += line.removeprefix(b".") + b"\r\n"
        return False

    def _bdat(self, verb: str, argument: str) -> None:
        if not self._offers("CHUNKING"):
            self._fault("BDAT, which is not offered")
        size, _, last = argument.partition(" ")
        transaction = self._transaction
        left = int(size)

        def read() -> bool:
            nonlocal left
            octets, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(octets)
            if transaction is not None:
                transaction.content += octets
            if left:
                return False
            self._read = self._read_command
            if transaction is None or not transaction.accepted:
                self._at(verb, argument, lambda: self._say("503 5.5.1 RCPT first"))
            elif last:
                self._check(transaction, dots=False)
                self._end(transaction)
            else:
                self._at(verb, argument, lambda: self._say("250 2.0.0 go on"))
            return True

        self._read = read

    def _check(self, transaction: Transaction, *, dots: bool) -> None:
        body = transaction.parameters.get("BODY", "7BIT").upper()
        content = transaction.content
        if body == "7BIT" and not content.isascii() and "SMTPUTF8" not in transaction.parameters:
            self._fault("content outside ASCII without BODY=8BITMIME")
        if body != "BINARYMIME" and re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content):
            self._fault("CR, LF or NUL by itself in the content")
        size = transaction.parameters.get("SIZE")
        if size is not None and not 0 <= int(size) - len(content) <= 0.1 * len(content) + 2000:
            self._fault(f"SIZE={size} for {len(content)} octets")

    def _end(self, transaction: Transaction) -> None:
        transaction.complete = True
        self._read = self._read_command
        self._transaction, self._ending = None, transaction
        for recipient in [one for one in transaction.recipients if one.accepted]:

            def usual(recipient: Recipient = recipient) -> None:
                transaction.kept = True
                text = f"250 2.0.0 Ok: queued as far{len(self._far.transactions)}"
                said(text.encode())
                self._say(text)

            def said(octets: bytes, recipient: Recipient = recipient) -> None:
                if self._session.over:
                    return
                transaction.answers.append(octets.decode("latin-1").strip())
                if octets.startswith(b"2"):
                    transaction.kept = True
                elif self._far.lmtp:
                    recipient.reply = octets.decode("latin-1").strip()

            self._at(".", recipient.address, usual, said)
            if not self._far.lmtp:
                break
