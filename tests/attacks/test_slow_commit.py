"""Commands pipelined behind the final dot while the message is still being made safe.

They must wait: replies come in the order of the commands, and a commit that fails in the end takes nothing
with it but its own message.
"""

import pytest

from mailserver.errors import StorageFull
from tests.support.attacks.ways import BEGIN, MAIL, RCPT, in_every_way
from tests.support.attacks.wires import SlowSmtp

SECOND = MAIL.replace(b"a@", b"second@") + RCPT + b"DATA\r\n"
ATTACK = (
    BEGIN
    + b"X: one\r\n.\r\n"
    + b"NOOP\r\n"
    + SECOND
    + b"X: two\r\n.\r\n"
    + b"VRFY x\r\nXYZZY\r\nQUIT\r\nNOOP\r\n"
)


@pytest.mark.parametrize("fails", [False, True])
def test_replies_come_in_strict_order(fails: bool) -> None:
    def play(pieces: list[bytes]) -> tuple[list[list[bytes]], list[bytes]]:
        server = SlowSmtp()
        for piece in pieces:
            server.connection.dataReceived(piece)
        heard = [server.codes()]
        while server.router.waiting or server.spool.messages[-1].state == "committing":
            if server.router.waiting:
                server.router.answer()
            else:
                commits = server.spool.messages[-1].commits
                server.spool.messages[-1].state = "done"
                if fails and len(server.spool.messages) == 1:
                    commits.errback(StorageFull("full"))
                else:
                    commits.callback(None)
            heard.append(server.codes())
        assert server.wire.disconnecting
        return heard, [b"".join(message.chunks) for message in server.spool.messages]

    heard, contents = in_every_way(ATTACK, play)
    assert heard == [
        [b"250 HELP", b"250 2.1.0"],
        [b"250 2.1.5", b"354 End d"],
        [b"452 4.3.1" if fails else b"250 2.0.0", b"250 2.0.0", b"250 2.1.0"],
        [b"250 2.1.5", b"354 End d"],
        [b"250 2.0.0", b"252 2.5.2", b"500 5.5.2", b"221 2.0.0"],
    ]
    assert contents == [b"X: one\r\n", b"X: two\r\n"]
