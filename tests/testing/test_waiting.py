"""What tests wait for: which message or session a call returns, and what its failure says."""

import asyncio
import poplib
import re
import smtplib
from typing import Any

import pytest

from mailserver.testing.asynchronous import AsyncMailServer
from mailserver.testing.message import CaughtMessage
from mailserver.testing.server import MailServer


def put(server: MailServer, subject: str) -> CaughtMessage:
    return server.deliver(f"Subject: {subject}\r\n\r\nx\r\n", to="bob@example.test")


def is_large(message: CaughtMessage) -> bool:
    return len(message.raw) > 10


@pytest.mark.parametrize(
    "conditions",
    [{}, {"to": "bob@example.test"}, {"subject": re.compile("o")}, {"subject": "o"}, {"where": is_large}],
)
def test_the_same_call_returns_the_next_message(mailserver: MailServer, conditions: dict[str, Any]) -> None:
    first = put(mailserver, "one")
    assert mailserver.wait_for(**conditions) == first
    second, third = put(mailserver, "two"), put(mailserver, "four")
    assert mailserver.wait_for(**conditions) == second
    assert mailserver.wait_for(**conditions) == third
    with pytest.raises(
        AssertionError, match=r"no further message with .* \(3 returned before\) within 0.01 s"
    ):
        mailserver.wait_for(timeout=0.01, **conditions)


def test_other_conditions_begin_with_the_first_message(mailserver: MailServer) -> None:
    first, second = put(mailserver, "one"), put(mailserver, "one")
    assert mailserver.wait_for(to="bob@example.test") == first
    assert mailserver.wait_for(to="bob@example.test", subject="one") == first
    assert mailserver.wait_for(subject="one") == first
    assert mailserver.wait_for(subject="one") == second


def test_after_a_message(mailserver: MailServer, make_mailserver: Any) -> None:
    first, second = put(mailserver, "one"), put(mailserver, "two")
    for _ in range(2):
        assert mailserver.wait_for(to="bob@example.test", after=first) == second
    mailserver.assert_no_message(after=second)
    with pytest.raises(AssertionError, match='no message with after="two" within'):
        mailserver.wait_for(after=second, timeout=0.01)
    assert mailserver.wait_for_count(1, after=first) == [second]
    with pytest.raises(ValueError, match="not a message of this server"):
        make_mailserver().wait_for(after=first)


def test_a_count_is_exact(mailserver: MailServer) -> None:
    every = [put(mailserver, "one"), put(mailserver, "two")]
    assert mailserver.wait_for_count(2) == mailserver.wait_for_count(2) == every
    with pytest.raises(AssertionError, match=r"^too many: 2 of 1 messages with any content\n"):
        mailserver.wait_for_count(1)
    with pytest.raises(AssertionError, match=r"^2 of 3 messages with any content within"):
        mailserver.wait_for_count(3, timeout=0.01)


def test_asynchronous_waits() -> None:
    async def wait() -> None:
        async with AsyncMailServer() as server:
            first, second = put(server.server, "one"), put(server.server, "two")
            assert [await server.wait_for(), await server.wait_for()] == [first, second]
            with pytest.raises(AssertionError, match=r"^too many: 2 of 1"):
                await server.wait_for_count(1)

    asyncio.run(wait())


def test_an_asynchronous_wait_that_is_cancelled() -> None:
    async def wait() -> None:
        async with AsyncMailServer() as server:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.wait_for(subject="never"), 0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            put(server.server, "later")
            assert (await server.wait_for(subject="later")).subject == "later"

    asyncio.run(wait())


def test_a_loop_that_is_closed_while_something_waits() -> None:
    """The server goes on: other tests may use it."""
    server = AsyncMailServer()
    with server.server:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)  # the task is never awaited
        task = loop.create_task(server.wait_for(subject="never"))
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        with smtplib.SMTP(server.smtp.host, server.smtp.port, timeout=5) as client:
            assert client.noop()[0] == 250
        assert not task.done()
        task.get_coro().close()


def test_sessions(mailserver: MailServer) -> None:
    for name in ("bob", "carol@other.test"):
        pop3 = poplib.POP3(mailserver.pop3.host, mailserver.pop3.port)
        pop3.user(name)
        pop3.pass_("x")
        pop3.quit()
    smtplib.SMTP(mailserver.smtp.host, mailserver.smtp.port).quit()
    first, second = mailserver.wait_for_session(), mailserver.wait_for_session()
    assert (first.account, second.account) == ("bob@example.test", "carol@other.test")
    assert mailserver.wait_for_session().protocol == "smtp"
    assert mailserver.wait_for_session(account="BOB@example.test") is first
    assert mailserver.wait_for_session(account="carol") is second
    with pytest.raises(AssertionError, match=r"no session with protocol='smtp', account='bob', closed=True"):
        mailserver.wait_for_session(protocol="smtp", account="bob", timeout=0.01)
    with pytest.raises(AssertionError, match=r"no further session with account='carol', closed=True"):
        mailserver.wait_for_session(account="carol", timeout=0.01)


def test_the_report_of_a_long_session(mailserver: MailServer) -> None:
    with smtplib.SMTP(mailserver.smtp.host, mailserver.smtp.port) as client:
        client.ehlo()
        for _ in range(150):
            client.noop()
    mailserver.wait_for_session()
    with pytest.raises(AssertionError) as failure:
        mailserver.wait_for(timeout=0)
    assert 200 < len(str(failure.value).splitlines()) < 250
    assert str(failure.value).endswith("-- connection closed")
