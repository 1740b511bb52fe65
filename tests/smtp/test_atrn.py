"""ATRN reverses the session: it answers nothing more, and gives its input away."""

import attrs
import pytest

from mailserver.smtp.states import SMTPState
from tests.support.smtp import SETTINGS, FakeServer

LOGIN = b"EHLO c.example\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("rest", [b"", b"220 c.exa", b"QUIT\r\nQUIT\r\n"])
def test_a_reversed_session(whole: bool, rest: bytes) -> None:
    options = attrs.evolve(SETTINGS, mechanisms=("PLAIN",), plaintext_auth=True, fetches=True)
    server = FakeServer(options)
    server.greeting()
    server.feed(LOGIN)
    sent = b"atrn Example.NET,example.net,other.example\r\n" + rest
    pieces = [sent] if whole else [sent[at : at + 1] for at in range(len(sent))]
    said = b"".join([server.feed(piece) for piece in pieces])
    assert said == b"250 2.0.0 OK now reversing the connection\r\n"
    assert server.reversed_for == ("example.net", "other.example")
    assert server.session.state is SMTPState.REVERSED and not server.session.closed
    assert server.session.take_rest() == rest
