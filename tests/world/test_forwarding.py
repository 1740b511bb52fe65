"""Forwarded mail and mail of lists: under which reverse-path it leaves, and where its bounces end."""

import re
from email.message import Message
from pathlib import Path

import pytest

from tests.support.far_sides.far_side import FarSide
from tests.support.far_sides.scripts import at
from tests.support.world import TEXT, world

ERIN = "erin@elsewhere.example"
TABLES = """
[[alias]]
address = "away@example.org"
to = ["bob@far.example"]

[[list]]
address = "club@example.org"
members = ["bob@far.example", "Dave@far.example", "carol@gone.example", "alice@example.org"]
owner = "carol@example.org"
verp = true
"""
REWRITTEN = r"SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=elsewhere\.example=erin@example\.org"
GONE = at("RCPT", "550 5.1.1 nobody")


def senders(far: FarSide) -> list[str]:
    """Of all messages, in the order of their recipients."""
    return [one.sender for one in sorted(far.kept, key=lambda one: one.accepted)]


def test_a_bounce_finds_its_way_back(tmp_path: Path) -> None:
    with world(tmp_path, TABLES) as here:
        far, elsewhere = here.domain("far.example"), here.domain("elsewhere.example")
        assert here.send("away@example.org", sender=ERIN) == {}
        here.reactor.pass_time(60.0)
        [forwarded] = far.kept
        assert re.fullmatch(REWRITTEN, forwarded.sender)
        trace, _, rest = forwarded.content.partition(b"From:")
        assert b"From:" + rest == TEXT  # as it was, for DKIM
        assert trace.startswith(b"Delivered-To: away@example.org\r\nReceived: ")
        # Reports only.
        assert here.send(forwarded.sender, sender="x@far.example")[forwarded.sender][0] == 550
        assert here.send(forwarded.sender, sender="", content=b"Subject: bounce\r\n\r\n") == {}
        here.reactor.pass_time(60.0)
        [bounce] = elsewhere.kept
        assert (bounce.sender, bounce.accepted) == ("", [ERIN])
        # It has been here once, and does not come through again.
        with pytest.raises(Exception, match="has forwarded this message before"):
            here.send(forwarded.sender, sender="", content=bounce.content)


def failures(report: Message) -> list[str]:
    return [part["Final-Recipient"] for part in report.walk() if part["Action"] == "failed"]


@pytest.mark.parametrize("lost", [False, True])
def test_our_own_report_goes_to_the_sender(tmp_path: Path, lost: bool) -> None:
    """If it fails as well, the postmaster has it."""
    with world(tmp_path, TABLES) as here:
        here.domain("far.example", script=GONE)
        elsewhere = here.domain("elsewhere.example", script=GONE if lost else ())
        assert here.send("away@example.org", sender=ERIN) == {}
        here.reactor.pass_time(60.0)
        if lost:
            [report] = here.mailbox("alice")
            assert failures(report)[0] == f"rfc822; {ERIN}"
            return
        [sent] = elsewhere.kept
        assert (sent.sender, sent.accepted) == ("", [ERIN])
        assert b"Final-Recipient: rfc822; away@example.org" in sent.content
        assert b"\r\nTo: erin@elsewhere.example\r\n" in sent.content
        assert here.mailbox("alice") == []


def test_our_own_report_that_an_alias_forwards(tmp_path: Path) -> None:
    with world(tmp_path, TABLES) as here:
        here.domain("far.example", script=GONE)
        assert here.send("x@far.example", sender="away@example.org") == {}
        here.reactor.pass_time(60.0)
        [report] = here.mailbox("alice")
        assert failures(report)[0] == "rfc822; away@example.org"


def test_each_member_of_a_list_has_a_bounce_address(tmp_path: Path) -> None:
    with world(tmp_path, TABLES) as here:
        far = here.domain("far.example")
        here.domain("gone.example", script=GONE)
        assert here.send("club@example.org", sender=ERIN) == {}
        here.reactor.pass_time(60.0)
        dave, bob = senders(far)
        assert bob == "club-bounces+bob=far.example@example.org"
        assert dave == "club-bounces+Dave=far.example@example.org"
        [copy] = here.mailbox("alice")
        assert copy["Return-Path"] == "<club-bounces@example.org>"
        # The owner gets our report, and that of the other server, which names the member only by its address.
        [report] = here.mailbox("carol")
        assert failures(report) == ["rfc822; carol@gone.example"]
        assert here.send(bob.upper(), sender="", content=b"Subject: ?\r\n\r\n") == {}
        here.reactor.pass_time(1.0)
        assert [one["Delivered-To"].lower() for one in here.mailbox("carol") if one["Subject"] == "?"] == [
            bob
        ]


def test_without_rewriting(tmp_path: Path) -> None:
    with world(tmp_path, f"{TABLES.replace('verp = true', '')}\n[forward]\nsrs = false") as here:
        far = here.domain("far.example")
        for to in ("away@example.org", "club@example.org"):
            assert here.send(to, sender=ERIN) == {}
        here.reactor.pass_time(60.0)
        assert sorted(senders(far)) == ["club-bounces@example.org", ERIN]
        assert not (tmp_path / "data/srs.keys").exists()


def test_not_what_we_relay(tmp_path: Path) -> None:
    with world(tmp_path, TABLES) as here:
        far = here.domain("far.example")
        assert here.send("x@far.example", sender=ERIN) == {}
        assert here.send("away@example.org", sender="alice@example.org") == {}
        here.reactor.pass_time(60.0)
        assert sorted(senders(far)) == ["alice@example.org", ERIN]
