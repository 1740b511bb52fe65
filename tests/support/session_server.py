"""What stand-ins for the server around a session share: how octets come to it, and how TLS begins."""

from typing import Any, ClassVar

from mailserver.sasl.mechanisms import Channel

# With this octet a client begins TLS, as in the real world (content type 22, RFC 8446 section 5.1).
HANDSHAKE = b"\x16"
NONCE = "1896.697170952"


class SessionServer:
    """Answers every event of its session at once, by ``handle``."""

    session: Any
    tls: ClassVar[Channel]
    waits_for_tls = False

    def handle(self, event: Any) -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> bytes:
        """Give the session some input, with TLS begun where it comes; return all that it says."""
        before, *rest = data.split(HANDSHAKE)
        said = self._feed(before)
        for piece in rest:
            if self.waits_for_tls:
                self.waits_for_tls = False
                self.session.secured(self.tls)
                said += self._feed(piece)
            else:
                said += self._feed(HANDSHAKE + piece)
        return said

    def _feed(self, data: bytes) -> bytes:
        if self.waits_for_tls:
            return b""  # in the clear, and so no TLS: nothing of it comes to the session
        self.session.receive(data)
        said = b""
        while (event := self.session.next_event()) is not None:
            said += self.session.take_output()
            self.handle(event)
        return said + self.session.take_output()
