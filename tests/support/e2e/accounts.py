"""A server whose accounts are changed by command, and whom it lets in."""

import json
import poplib
from collections.abc import Sequence

from tests.support.e2e.server import ACCOUNTS, BOTH, ROUTES, Server, configuration

SUBMISSION = ("submission", "tcp:0:interface=127.0.0.1")


def settings(*mechanisms: str, accounts: Sequence[str] = ACCOUNTS, tables: str = ROUTES) -> str:
    """A configuration with these mechanisms, in the clear."""
    mechanisms = mechanisms or ("PLAIN", "LOGIN")
    secrets = f"[smtp]\nplaintext_auth = true\n\n[auth]\nmechanisms = {json.dumps(mechanisms)}\n"
    return configuration(listen=(*BOTH, SUBMISSION), accounts=accounts, tables=secrets + tables)


def logs_in(server: Server, name: str, password: str, way: str = "user") -> bool:
    """Whether POP3 lets somebody in by USER or by APOP."""
    client = poplib.POP3(*server.pop3, timeout=15)
    try:
        if way == "apop":
            client.apop(name, password)
        else:
            client.user(name)
            client.pass_(password)
        client.quit()
    except poplib.error_proto as error:
        assert str(error).startswith("b'-ERR [AUTH]"), error
        client.close()
        return False
    return True
