"""Connections to other servers, which are far sides on loopback, in virtual time."""

import errno
import socket
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from mailserver.errors import StorageError
from mailserver.mail.relay_host import RelayHost
from mailserver.mail.tls_requirement import TLSLevel, TLSRequirement
from mailserver.net import sending
from mailserver.smtp.sender.events import CloseCause, Fate
from tests.support.far_sides.far_side import FarSide
from tests.support.far_sides.scripts import (
    TLS_FAILURES,
    Drop,
    Endless,
    Rule,
    Say,
    Script,
    Silence,
    at,
    broken_tls,
)
from tests.support.net.relay_caller import (
    NAME,
    SETTINGS,
    Caller,
    Content,
    fates,
    mail,
    shown,
    shown_as_is,
)
from tests.support.tls_material import Authority, make_ca
from tests.support.virtual_time import VirtualTimeReactor, virtual_time


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def reactor() -> Iterator[VirtualTimeReactor]:
    with virtual_time() as reactor:
        yield reactor


@pytest.fixture
def caller(reactor: VirtualTimeReactor, authority: Authority) -> Caller:
    return Caller(reactor, authority)


# ------------------------------------------------------------ the connection


def test_a_connection_and_its_messages(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor)
    host = caller.listen(far)
    connection = caller.dial(host, TLSLevel.NONE)
    assert connection.label == f"mx.example.net[127.0.0.1]:{host.port}"
    assert (connection.tls, connection.tls_problem, connection.extensions.chunking) == ("", None, True)
    for number in range(3):
        content = Content([], b"Subject: x\r\n\r\n.\r\n")
        assert fates(caller.reactor.wait(connection.send(mail(size=17), content))) == [Fate.ACCEPTED]
        assert (connection.idle, connection.messages) == (True, number + 1)
    assert [one.content for one in far.kept] == [b"Subject: x\r\n\r\n.\r\n"] * 3
    caller.reactor.pass_time(3600)  # nothing is expected of an idle server
    assert connection.idle
    connection.quit()
    caller.reactor.run_until(lambda: far.sessions[0].over, "the end")
    assert far.sessions[0].quit and connection.ended and connection.ended.cause is CloseCause.QUIT
    caller.reactor.pass_time(60)
    assert not caller.reactor.getDelayedCalls() and far.faults == []


@pytest.mark.parametrize("level", [TLSLevel.NONE, TLSLevel.OPPORTUNISTIC])
def test_a_large_content_goes_as_fast_as_it_is_read(
    caller: Caller, authority: Authority, level: TLSLevel
) -> None:
    far = FarSide(reactor=caller.reactor, tls=shown(authority.issue(NAME)))
    connection = caller.dial(caller.listen(far), level)
    assert bool(connection.tls) == (level is not TLSLevel.NONE)
    pieces = [b"%06d" % number * 10_000 + b"\r\n" for number in range(200)]
    content = Content(list(pieces))
    results = caller.reactor.wait(connection.send(mail(size=sum(map(len, pieces))), content))
    assert fates(results) == [Fate.ACCEPTED]
    assert far.kept[0].content == b"".join(pieces)


def test_a_content_that_breaks_is_accepted_by_nobody(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor, extensions=("PIPELINING",))
    connection = caller.dial(caller.listen(far))
    content = Content([b"x" * 70_000 + b"\r\n", StorageError("cannot read")])
    with pytest.raises(StorageError, match="cannot read"):
        caller.reactor.wait(connection.send(mail(size=100_000), content))
    assert not connection.idle
    caller.reactor.run_until(lambda: far.sessions[0].over, "the end")
    assert far.kept == []


class Deaf(ServerFactory):
    """Greets, accepts the envelope, and reads no content."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.far = FarSide(reactor=reactor, extensions=("PIPELINING",), script=at("x", ""))

    def buildProtocol(self, addr: Any) -> Any:
        protocol: Any = self.far.buildProtocol(addr)
        received = protocol.dataReceived

        def data(octets: bytes) -> None:
            received(octets)
            if b"DATA" in octets:
                protocol.transport.pauseProducing()

        protocol.dataReceived = data
        return protocol


def test_a_server_that_does_not_read_the_content(caller: Caller) -> None:
    connection = caller.dial(caller.listen(Deaf(caller.reactor)))
    began = caller.reactor.seconds()
    pieces: list[Any] = [b"x" * 60_000 + b"\r\n"] * 1000
    content = Content(pieces)
    results = caller.reactor.wait(connection.send(mail(size=60_002_000), content))
    assert fates(results) == [Fate.UNTRIED] and "no answer" in results[0].text
    assert 170 <= caller.reactor.seconds() - began <= 200
    assert len(pieces) > 700, "the content waits for the server"


@pytest.mark.parametrize(("recipients", "fate"), [(3, Fate.ACCEPTED), (10, Fate.UNTRIED)])
def test_each_reply_has_its_time_and_the_message_too(caller: Caller, recipients: int, fate: Fate) -> None:
    slow = Rule("RCPT", (Say(b"250 ok\r\n", 36.0),))  # 252 seconds
    far = FarSide(reactor=caller.reactor, extensions=(), script=(slow,))
    connection = caller.dial(caller.listen(far))
    began = caller.reactor.seconds()
    names = [f"r{number}@b.example" for number in range(recipients)]
    sent = connection.send(mail(*names), Content([], b"x\r\n"))
    results = caller.reactor.wait(sent)
    assert fates(results) == [fate] * recipients
    if fate is Fate.UNTRIED:
        assert results[0].text == "the session takes too long"
        assert caller.reactor.seconds() - began == pytest.approx(1900, abs=1)


def test_an_idle_connection_that_the_server_ends(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor)
    connection = caller.dial(caller.listen(far))
    caller.reactor.disconnectAll()
    caller.reactor.run_until(lambda: connection.ended, "the end")
    assert not connection.idle
    connection.quit()
    assert not caller.reactor.getDelayedCalls()


def test_giving_up(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor, script=(Rule(".", (Silence(),)),))
    connection = caller.dial(caller.listen(far))
    sent = connection.send(mail(), Content([], b"x\r\n"))
    caller.reactor.run_until(lambda: far.transactions and far.transactions[0].complete, "the content")
    connection.give_up("the server is stopping")
    [result] = caller.reactor.wait(sent)
    assert (result.fate, result.text) == (Fate.UNCERTAIN, "the server is stopping")


def test_lmtp_over_a_unix_socket(caller: Caller, tmp_path: Path) -> None:
    far = FarSide(reactor=caller.reactor, lmtp=True, script=at(".", "550 5.2.0 no"))
    path = str(tmp_path / "lmtp.sock")
    caller.reactor.listenUNIX(path, far)
    settings = attrs.evolve(SETTINGS, protocol="lmtp")
    connection = caller.dial(RelayHost("localhost", path=path), TLSLevel.VERIFIED, settings)
    assert (connection.label, connection.tls) == (f"unix:{path}", "")
    results = caller.reactor.wait(connection.send(mail("a@b.example", "c@d.example"), Content([], b"x\r\n")))
    assert fates(results) == [Fate.REJECTED] * 2
    assert far.sessions[0].hello == "LHLO mail.example.org"


def test_the_source_address(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor)
    source = (ip_address("::1"), ip_address("127.0.0.9"))
    caller.dial(caller.listen(far), source=source)
    assert far.sessions[0].client == "127.0.0.9"


def test_the_first_address_that_answers(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor)
    host = caller.listen(far)
    connection = caller.dial(attrs.evolve(host, addresses=("127.0.0.66", "::1", "127.0.0.1")))
    assert connection.label.startswith("mx.example.net[127.0.0.1]")


# ------------------------------------------------------------ hosts that take no mail


def test_a_host_that_refuses_the_connection(caller: Caller) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        error = caller.refused(RelayHost(NAME, ("127.0.0.1",), port))
    assert str(error) == f"mx.example.net[127.0.0.1]:{port}: connection refused"
    assert (error.reply, error.tls_failed, error.tls_problem) == ("", False, None)


def test_a_unix_socket_that_is_not_there(caller: Caller, tmp_path: Path) -> None:
    error = caller.refused(RelayHost("localhost", path=f"{tmp_path}/none.sock"))
    assert str(error) == f"unix:{tmp_path}/none.sock: no such file or directory"


def test_a_host_that_is_down_is_remembered_for_some_time(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor, script=at("connect", "421 4.3.2 busy"))
    host = caller.listen(far)
    assert not caller.dialler.is_down(host)
    caller.refused(host)
    assert caller.dialler.is_down(host)
    caller.reactor.pass_time(900)
    assert not caller.dialler.is_down(host)


@pytest.mark.parametrize(
    ("script", "text", "reply", "seconds"),
    [
        (at("connect", "554 5.7.1 go away"), "said: 554 5.7.1 go away", "554 5.7.1 go away", 0),
        (at("connect", "421 4.3.2 busy"), "said: 421 4.3.2 busy", "421 4.3.2 busy", 0),
        ((Rule("connect", (Drop(),)),), ": the connection is closed", "", 0),
        (
            (Rule("connect", (Silence(),)),),
            ": no answer for 300 seconds (waiting for the greeting)",
            "",
            300,
        ),
        (
            (Rule("EHLO", (Silence(),)),),
            ": no answer for 300 seconds (waiting for the reply to EHLO)",
            "",
            300,
        ),
        ((Rule("connect", (Endless(),)),), "", "", 0),
        ((Rule("connect", (Say(b"220-x\r\n" * 60, 5.0),)),), "", "", sending.SETUP_TIMEOUT),
        ((Rule("connect", (Say(b"SSH-2.0-x\r\n"),)),), "", "", 0),
    ],
)
def test_a_host_that_takes_no_mail(
    caller: Caller, script: Script, text: str, reply: str, seconds: float
) -> None:
    host = caller.listen(FarSide(reactor=caller.reactor, script=script))
    began = caller.reactor.seconds()
    error = caller.refused(host)
    assert (str(error), error.reply)[: 2 if text else 0] == (
        (f"{error.host}{' ' if reply else ''}{text}", reply) if text else ()
    )
    assert error.host == f"mx.example.net[127.0.0.1]:{host.port}" and not error.tls_failed
    assert caller.reactor.seconds() - began <= max(seconds, 60)
    assert seconds == 0 or caller.reactor.seconds() - began >= min(seconds, 300)


def test_descriptors_of_this_server(caller: Caller) -> None:
    def connect(host: str, port: int, factory: Any, *args: Any, **more: Any) -> None:
        factory.clientConnectionFailed(None, Failure(ConnectError(errno.EMFILE)))

    caller.reactor.connectTCP = connect
    with pytest.raises(StorageError, match="cannot connect: too many open files"):
        caller.dial(RelayHost(NAME, ("127.0.0.1",)))


def test_cancelled(caller: Caller) -> None:
    far = FarSide(reactor=caller.reactor, script=(Rule("EHLO", (Silence(),)),))
    calling = caller.dialler.dial(caller.listen(far), SETTINGS, TLSRequirement(TLSLevel.NONE, ""))
    caller.reactor.run_until(lambda: far.sessions and far.sessions[0].dialogue[-1:] != [], "EHLO")
    failures: list[Any] = []
    calling.addErrback(failures.append)
    calling.cancel()
    assert failures[0].check(CancelledError), "no other host is tried"
    caller.reactor.run_until(lambda: far.sessions[0].over, "the end")


# ------------------------------------------------------------ TLS


def test_opportunistic_tls_accepts_any_certificate(caller: Caller, tmp_path: Path) -> None:
    far = FarSide(reactor=caller.reactor, tls=shown(make_ca(tmp_path).issue("other.example")))
    connection = caller.dial(caller.listen(far))
    assert connection.tls.startswith("TLSv1.3") and connection.tls_problem == "certificate-not-trusted"
    caller.reactor.wait(connection.send(mail(), Content([], b"x\r\n")))
    assert far.kept[0].session.tls is not None and far.kept[0].session.tls.name == NAME
    assert far.faults == []


@pytest.mark.parametrize(
    ("names", "ends", "trusted", "problem"),
    [
        ([NAME], 30, True, ""),
        (["*.example.net"], 30, True, ""),
        (["other.example"], 30, True, "certificate-host-mismatch"),
        ([], 30, True, "certificate-host-mismatch"),
        ([NAME], -0.5, True, "certificate-expired"),
        ([NAME], 30, False, "certificate-not-trusted"),
    ],
)
def test_verified_tls(
    caller: Caller, authority: Authority, tmp_path: Path, names: Any, ends: float, trusted: bool, problem: str
) -> None:
    signer = authority if trusted else make_ca(tmp_path)
    far = FarSide(reactor=caller.reactor, tls=shown_as_is(signer.issue(*names, ends=timedelta(days=ends))))
    host = caller.listen(far)
    if not problem:
        connection = caller.dial(host, TLSLevel.VERIFIED)
        assert (connection.tls_problem, bool(connection.tls)) == ("", True)
        return
    error = caller.refused(host, TLSLevel.VERIFIED)
    text = f"the certificate is not valid for mx.example.net: {problem} (relay.tls)"
    assert str(error) == f"{error.host}: {text}"
    assert (error.tls_problem, error.tls_failed) == (problem, True)
    # The certificate makes no difference where TLS needs not be verified.
    for level in (TLSLevel.REQUIRED, TLSLevel.OPPORTUNISTIC):
        connection = caller.dial(host, level)
        assert (connection.tls_problem, bool(connection.tls)) == (problem, True)


@pytest.mark.parametrize("reason", ["", "the TLSA records do not match"])
def test_a_check_of_the_chain_replaces_that_of_the_names(caller: Caller, tmp_path: Path, reason: str) -> None:
    issued = make_ca(tmp_path).issue("other.example")
    far = FarSide(reactor=caller.reactor, tls=shown(issued))
    chains: list[Any] = []

    def check(chain: Any) -> str:
        chains.append(list(chain))
        return reason

    host = caller.listen(far)
    if reason:
        error = caller.refused(host, TLSLevel.VERIFIED, check=check)
        assert reason in str(error) and error.tls_problem == "validation-failure"
    else:
        assert caller.dial(host, TLSLevel.VERIFIED, check=check).tls_problem == ""
    assert chains == [[issued.der]]


def test_implicit_tls(caller: Caller, authority: Authority) -> None:
    far = FarSide(reactor=caller.reactor, tls=shown(authority.issue(NAME)), implicit=True)
    host = attrs.evolve(caller.listen(far), implicit_tls=True)
    connection = caller.dial(host, TLSLevel.VERIFIED)
    assert connection.tls and fates(caller.reactor.wait(connection.send(mail(), Content([], b"x\r\n"))))
    far = FarSide(reactor=caller.reactor)
    plain = attrs.evolve(caller.listen(far), implicit_tls=True)
    assert caller.refused(plain, TLSLevel.OPPORTUNISTIC).tls_failed
    assert len(far.sessions) == 1, "no fallback"


AFTER_STARTTLS = {
    **TLS_FAILURES,
    "drop instead of a reply": (Rule("STARTTLS", (Drop(),)),),
    "more than the reply": broken_tls(Say(b"250 2.0.0 injected\r\n")),
}


@pytest.mark.parametrize("script", AFTER_STARTTLS.values(), ids=AFTER_STARTTLS)
def test_tls_that_fails(caller: Caller, authority: Authority, script: Script) -> None:
    far = FarSide(reactor=caller.reactor, tls=shown(authority.issue(NAME)), script=script)
    host = caller.listen(far)
    connection = caller.dial(host)
    assert (connection.tls, connection.tls_problem) == ("", "validation-failure")
    assert fates(caller.reactor.wait(connection.send(mail(), Content([], b"x\r\n")))) == [Fate.ACCEPTED]
    assert len(far.sessions) == 2
    # Remembered: the next connection does not try TLS. Later it does.
    caller.dial(host)
    assert len(far.sessions) == 3
    caller.reactor.pass_time(3600)
    far.script = ()
    assert caller.dial(host).tls
    far.script = script
    assert caller.refused(host, TLSLevel.REQUIRED).tls_failed


@pytest.mark.parametrize("tls", [True, False])
def test_tls_that_the_server_does_not_offer_or_refuses(
    caller: Caller, authority: Authority, tls: bool
) -> None:
    options = shown(authority.issue(NAME)) if tls else None
    far = FarSide(reactor=caller.reactor, tls=options, script=at("STARTTLS", "454 4.7.0 not now"))
    host = caller.listen(far)
    connection = caller.dial(host)
    assert (connection.tls, connection.tls_problem) == ("", "starttls-not-supported")
    error = caller.refused(host, TLSLevel.REQUIRED)
    assert error.tls_problem == "starttls-not-supported"
    assert len(far.sessions) == 2
