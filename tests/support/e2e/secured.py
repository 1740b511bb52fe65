"""A server with TLS on every port and every way to log in, and one with no more than the defaults.

No password may go to either in the clear. Clients check its certificate, which names 127.0.0.1, too.
"""

import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from argon2 import PasswordHasher

from tests.support.e2e.dialogue import HOSTNAME, Pop3, Smtp
from tests.support.e2e.mailbox import Mailbox
from tests.support.e2e.server import PASSWORD, Server, configuration
from tests.support.tls_material import Authority, Issued, make_ca

MECHANISMS = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "EXTERNAL",
    "OAUTHBEARER",
    "XOAUTH2",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
    "ANONYMOUS",
)
"""All that can be named, but for APOP, in the order in which clients are told of them."""
LISTEN = tuple(
    (protocol, "tcp:0:interface=127.0.0.1", tls)
    for protocol, tls in (
        ("smtp", "starttls"),
        ("submission", "starttls"),
        ("submission", "implicit"),
        ("pop3", "starttls"),
        ("pop3", "implicit"),
    )
)
TOKEN_KEY = "a secret that tokens are signed with"
EVERYTHING = f"""
[auth]
mechanisms = {json.dumps([*MECHANISMS, "APOP"])}

[token]
key = "{TOKEN_KEY}"

[[alias]]
address = "sales"
to = ["owner"]
"""
PLAIN_ACCOUNTS = 500
HASHED_ACCOUNTS = 50


@dataclass(frozen=True)
class Account(Mailbox):
    """An account of a server with TLS, and what its client needs to know."""

    authority: Authority | None = None

    @property
    def ca(self) -> Path:
        """The authority that has signed the server's certificate, PEM."""
        assert self.authority is not None
        return self.authority.path

    @property
    def context(self) -> ssl.SSLContext:
        """For clients in Python."""
        return ssl.create_default_context(cafile=self.ca)

    def token(self, address: str = "", key: str = TOKEN_KEY, seconds: float = 60.0) -> str:
        """A bearer token for this account, or for another, that lasts so long."""
        claims = {"email": address or self.address, "exp": time.time() + seconds}
        return jwt.encode(claims, key, algorithm="HS256")

    def certificate(self) -> Issued:
        """A client's certificate with this address in it."""
        assert self.authority is not None
        return self.authority.issue(mail=[self.address])

    def connect(self, protocol: str, tls: str, context: ssl.SSLContext | None = None) -> Any:
        """A dialogue with TLS, and nobody logged in: Pop3 for this protocol, and Smtp for the others."""
        context = context or self.context
        kind = Pop3 if protocol == "pop3" else Smtp
        address = self.server.address(protocol, tls)
        if tls == "implicit":
            return kind(address, context=context)
        session = kind(address)
        session.expect(*((b"STLS", b"+OK") if protocol == "pop3" else (b"STARTTLS", b"220")))
        session.begin_tls(context)
        return session

    def login(self) -> Pop3:
        """A POP3 session in the transaction state."""
        session = Pop3(self.server.address("pop3", "implicit"), context=self.context)
        reply = session.login(self.address, self.password)
        assert reply.startswith(b"+OK"), reply
        return session


class Secured:
    """A running server, and its accounts: each test takes some that nobody else has."""

    def __init__(self, directory: Path, tables: str = "") -> None:
        """``tables`` go to the end of the configuration."""
        folder = directory / "certificates"
        folder.mkdir()
        self.authority = make_ca(folder)
        issued = self.authority.issue(HOSTNAME, "localhost", "127.0.0.1")
        tls = (
            f'[tls]\ncertificate = "{issued.certificate}"\nprivate_key = "{issued.private_key}"\n'
            f'client_ca = "{self.authority.path}"\n'
        )
        plain = [f"plain{number}" for number in range(PLAIN_ACCOUNTS)]
        hashed = [f"hashed{number}" for number in range(HASHED_ACCOUNTS)]
        self._plain, self._hashed = iter(plain), iter(hashed)
        # each test that wants one logs in once or twice: the usual cost would only be waited for
        digest = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
        others = {"owner": PASSWORD, "anonymous": "{NONE}"}
        config = configuration(
            listen=LISTEN,
            accounts=[*plain, *hashed, *others],
            passwords={**dict.fromkeys(hashed, digest), **others},
            plaintext_auth=False,
            tables=tls + tables,
        )
        self.server = Server(directory, config)

    def account(self) -> Account:
        """With a password kept as it is, and so with keys for every mechanism."""
        return self.named(next(self._plain))

    def hashed(self) -> Account:
        """With a password that is kept as a hash."""
        return self.named(next(self._hashed))

    def owner(self) -> Account:
        """The one account that has an alias, sales, where :data:`EVERYTHING` is configured."""
        return self.named("owner")

    def named(self, name: str, password: str = PASSWORD) -> Account:
        """By a name that the test knows of."""
        return Account(self.server, name, password, self.authority)
