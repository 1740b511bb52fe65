"""The reactor of the world: real sockets and threads; time passes only while nobody does anything."""

import smtplib
import time
from pathlib import Path

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThreadPool

from mailserver.app.build import make_service
from tests.support.e2e.server import configuration
from tests.support.fakes import stand_in
from tests.support.far_sides.far_side import FarSide
from tests.support.far_sides.scripts import Rule, Say
from tests.support.virtual_time import VirtualTimeReactor, virtual_time


def in_thread(reactor: VirtualTimeReactor, function, *arguments):
    return reactor.wait(deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments))


def send(port: int, sender: str, *to: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail(sender, to, b"Subject: x\r\n\r\n")


def test_slow_octets_take_no_time() -> None:
    began = time.monotonic()
    with virtual_time() as reactor:
        far = FarSide(reactor=reactor, script=(Rule("MAIL", (Say(b"250 ok\r\n", pause=3600.0),)),))
        port = reactor.listenTCP(0, far, interface="127.0.0.1").getHost().port
        before = reactor.seconds()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        client = reactor.wait(connectProtocol(endpoint, Protocol()))
        client.transport.write(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n.\r\n")
        reactor.run_until(lambda: far.kept, "the message")
        assert far.copies("c@d.example") == 1
        assert 7 * 3600 <= reactor.seconds() - before < 8 * 3600
    assert time.monotonic() - began < 5


def test_a_whole_server(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text(configuration())
    with virtual_time() as reactor:
        service = make_service(stand_in(reactor), path)
        service.startService()
        [port] = [one["port"] for one in service.where() if one["protocol"] == "smtp"]
        in_thread(reactor, send, port, "a@b.example", "alice@example.org")
        reactor.pass_time(86400.0)
        reactor.wait(service.stopService())
    assert len(list((tmp_path / "data/mail/example.org/alice/new").iterdir())) == 1
