"""What is the same with a seed, and limits that a real server does not have."""

import smtplib

import pytest

from mailserver.testing.server import MailServer


def send(server: MailServer, size: int = 10) -> None:
    with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
        smtp.sendmail("a@example.test", ["bob@example.test"], "Subject: x\r\n\r\n" + "x" * size)


def ids(seed: int | None) -> list[str]:
    with MailServer(seed=seed) as server:
        for _ in range(2):
            send(server)
        return [each.id for each in server.messages] + [each.id for each in server.sessions]


def test_a_seed_gives_the_same_ids() -> None:
    first = ids(7)
    assert len(set(first)) == 4
    assert ids(7) == first
    assert not set(ids(8)) & set(first) and not set(ids(None)) & set(ids(None))


def test_a_maximum_size_that_is_too_small_for_a_real_server() -> None:
    with MailServer(smtp={"max_message_size": 1000}) as server:
        send(server)
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"5\.3\.4"):
            send(server, 2000)
        assert len(server.messages) == 1


@pytest.mark.parametrize("size", [0, -1, True, "many"])
def test_a_maximum_size_that_is_none(size: object) -> None:
    with pytest.raises(Exception, match=r"smtp\.max_message_size"):
        MailServer(smtp={"max_message_size": size})
