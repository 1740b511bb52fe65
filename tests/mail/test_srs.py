"""Rewritten reverse-paths: to and fro, the form of libsrs2, forged and expired ones; VERP."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import MAX_LOCAL_PART, Address
from mailserver.mail.srs import SRS, SRSInvalid
from mailserver.mail.verp import verp_path

KEY, OLD = b"a secret", b"an older secret"
US = SRS("us.example", (KEY, OLD), frozenset({"us.example", "also.example"}))
THEM = SRS("them.example", (b"their secret",), frozenset({"them.example"}))
THIRD = SRS("third.example", (b"another",))
DAY = 86400
NOW = 1_700_000_000.0
SENDER = Address("Erin.Example", "elsewhere.example")

LOCAL_PARTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
SENDERS = st.builds(
    Address, LOCAL_PARTS, st.sampled_from(["a.example", "xn--bcher-kva.example", "[192.0.2.1]"])
)


def test_form():
    path = US.rewritten(SENDER, NOW)
    assert re.fullmatch(
        r"SRS0=[A-Za-z0-9+/]{4}=[A-Z2-7]{2}=elsewhere\.example=Erin\.Example@us\.example", str(path)
    )
    second = THEM.rewritten(path, NOW)
    assert str(second).startswith("SRS1=") and str(second).endswith(
        f"=us.example={path.local[4:]}@them.example"
    )
    third = THIRD.rewritten(second, NOW)
    assert third.local.split("=", 2)[2] == second.local.split("=", 2)[2]  # it does not grow
    assert US.is_rewritten(Address(path.local, "also.example"))  # our first domain may have changed
    assert US.is_rewritten(path) and THEM.is_rewritten(second) and not US.is_rewritten(second)
    assert not US.is_rewritten(Address("SRS2=x", "us.example"))


@given(SENDERS, st.floats(0, 4e9))
def test_there_and_back(sender, now):
    path = US.rewritten(sender, now)
    if path == sender:
        assert len(f"SRS0=xxxx=xx={sender.domain}={sender.local}".encode()) > MAX_LOCAL_PART
        return
    assert Address.parse(str(path)) == path
    assert US.original(path, now + 20 * DAY) == sender
    lower = path.local.encode().lower().decode()  # other servers may change the case
    assert US.original(Address(lower, path.domain), now).key == sender.key
    second = THEM.rewritten(path, now)
    if second != path:
        assert THEM.original(second, now) == path
        third = THIRD.rewritten(second, now)
        assert third == second or THIRD.original(third, now) == path


@pytest.mark.parametrize(
    "sender",
    [
        Address("a", "us.example"),
        Address("a", "also.example"),
        Address("a" * 250, "x.example"),
        Address("é" * 125, "x.example"),
    ],
)
def test_not_rewritten(sender):
    assert US.rewritten(sender, NOW) == SRS("us.example", (KEY,), frozenset({"also.example"})).rewritten(
        sender, NOW
    )
    assert US.rewritten(sender, NOW) == sender


def test_off():
    """Nobody is rewritten any more; bounces still find their way."""
    off = SRS("us.example", (KEY,), rewrites=False)
    path = US.rewritten(SENDER, NOW)
    assert off.rewritten(SENDER, NOW) == SENDER
    assert off.is_rewritten(path) and off.original(path, NOW) == SENDER


def test_malformed_path_of_another_server():
    assert US.rewritten(Address("SRS1=x", "x.example"), NOW).local.startswith("SRS0=")


@pytest.mark.parametrize(
    ("days", "valid"),
    [(-2, False), (-1, True), (0, True), (21, True), (22, False), (1022, False), (1024, True)],
)
def test_validity(days, valid):
    """A day is one of 1024; a clock may be a day ahead."""
    path = US.rewritten(SENDER, NOW)
    if valid:
        assert US.original(path, NOW + days * DAY) == SENDER
    else:
        with pytest.raises(SRSInvalid, match="expired"):
            US.original(path, NOW + days * DAY)


def test_keys():
    """The first one signs, all of them verify."""
    path = SRS("us.example", (OLD,)).rewritten(SENDER, NOW)
    assert US.original(path, NOW) == SENDER
    assert US.rewritten(SENDER, NOW) != path
    with pytest.raises(SRSInvalid, match="did not make"):
        SRS("us.example", (KEY,)).original(path, NOW)
    assert "secret" not in repr(US)


GENUINE = US.rewritten(SENDER, NOW).local


@pytest.mark.parametrize("at", range(len(GENUINE)))
def test_forged(at):
    """Each character counts, but its case does not."""
    for other in "x=9":
        forged = GENUINE[:at] + other + GENUINE[at + 1 :]
        if forged.lower() != GENUINE.lower() and not re.match(r"SRS0[=+-]", GENUINE[:at] + other):
            with pytest.raises(SRSInvalid):
                US.original(Address(forged, "us.example"), NOW)
    swapped = GENUINE[:at] + GENUINE[at].swapcase() + GENUINE[at + 1 :]
    assert US.original(Address(swapped, "us.example"), NOW).key == SENDER.key


@pytest.mark.parametrize(
    "local",
    ["SRS0", "SRS0=", "SRS0====", "SRS0==AA=d=u", "SRS0=abcd=AA=d", "SRS0=é=AA=d=u", "SRS1=", "SRS1=abcd=d",
     "SRS1===", "SRS1=abcd=d==a=AA=d=u", "alice", "SRS0=abcdefgh=AA=d=u", "srs0-abcd=!!=d=u"],
)  # fmt: skip
def test_malformed(local):
    with pytest.raises(SRSInvalid):
        US.original(Address(local, "us.example"), NOW)


@given(st.text())
def test_any_text(local):
    with pytest.raises(SRSInvalid):
        US.original(Address(local, "us.example"), NOW)


def test_verp():
    bounces = Address("Club-bounces", "us.example")
    member = Address("bob+x=y", "elsewhere.example")
    assert str(verp_path(bounces, member)) == "Club-bounces+bob+x=y=elsewhere.example@us.example"
    assert verp_path(bounces, Address("a" * 250, "x.example")) == bounces
