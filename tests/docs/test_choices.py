"""What docs/protocols.md says of choices that nothing else shows."""

import attrs

from tests.support.docs.observed import code
from tests.support.smtp import SETTINGS, FakeServer

LOGINS = attrs.evolve(SETTINGS, mechanisms=("PLAIN",), plaintext_auth=True)
PLAIN = b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"


def test_auth_after_helo() -> None:
    server = FakeServer(LOGINS)
    server.greeting()
    server.feed(b"HELO c.example\r\n")
    assert code(server.feed(PLAIN)) == "235 2.7.0"


def test_a_domain_that_is_not_fully_qualified() -> None:
    """It is no other than any: not completed, and not ours."""
    server = FakeServer(attrs.evolve(LOGINS, submission=True))
    server.greeting()
    server.feed(b"EHLO c.example\r\n" + PLAIN)
    assert code(server.feed(b"MAIL FROM:<alice@example>\r\n")) == "553 5.7.1"
    server.feed(b"MAIL FROM:<>\r\n")
    assert code(server.feed(b"RCPT TO:<bob@example>\r\n")) == "550 5.7.1"
    assert code(server.feed(b"RCPT TO:<bob@example.org>\r\n")) == "250 2.1.5"
