"""The configuration of the site that commands are tried on, its names, and how a command ends."""

from collections.abc import Callable

import attrs

from mailserver.mail.address import Address

CONFIG = """
hostname = "mail.example.org"
domains = ["example.org", "example.com"]
account = [{ address = "Root", password = "x" }]
alias = [{ address = "info", to = ["root"] }]
list = [{ address = "staff", members = ["root"] }]
moved = [{ address = "dora", to = "dora@elsewhere.example" }]
"""
ALICE, BOB, SALES, CLUB, ROOT, INFO = (
    Address.parse(f"{name}@example.org") for name in ("alice", "bob", "sales", "club", "root", "info")
)
AWAY = Address.parse("away@elsewhere.example")


@attrs.frozen
class Ended:
    """How a command ended."""

    status: int
    out: list[str]
    err: list[str]


Run = Callable[..., Ended]
