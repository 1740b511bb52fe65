"""Unique-ids that imported messages have from another server."""

from mailserver.store import names
from tests.support.store.messages import ALICE, MESSAGE, contents, deliver


def listed(maildirs):
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    found = {message.uid: message.size for message in drop.messages}
    assert contents(maildirs.wait, drop) is not None
    drop.release()
    return found


def test_a_kept_unique_id_stays_whatever_happens_to_the_file(maildirs):
    base = names.with_uid("1700000000.M1P1.old,S=10,W=12", "000000016553f100")
    path = maildirs.put("new", base, b"four\nfive\n")
    assert listed(maildirs) == {"000000016553f100": 12}
    path.rename(maildirs.box() / "cur" / f"{base}:2,S")
    assert listed(maildirs) == {"000000016553f100": 12}
    maildirs.reopen()
    assert listed(maildirs) == {"000000016553f100": 12}


def test_among_messages_of_this_server(maildirs):
    deliver(maildirs, MESSAGE)
    [own] = maildirs.files("new")
    own.rename(own.with_name(names.with_uid(own.name, "old")))
    deliver(maildirs, MESSAGE)
    assert len(listed(maildirs)) == 2
    assert "old" in listed(maildirs)


def test_two_messages_never_share_one(maildirs):
    for name in ("1.a", "2.b"):
        maildirs.put("new", names.with_uid(name, "same"), name.encode())
    assert listed(maildirs).keys() == {"same", names.digest(names.with_uid("2.b", "same"))}
