"""Which reverse-paths an account may send with."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import NOT_AUTHORIZED, Accept, Refuse
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable


def at(text: str) -> Address:
    return Address.parse(text)


KEY = "submission.senders"
ALICE, BOB, BOB_OWN, CAROL = (
    at(text)
    for text in ("alice@example.org", "Bob@example.org", "bob+own@example.org", "carol@other.example")
)
NAMES = {
    "domains": ["example.org", "other.example", "third.example"],
    "accounts": [ALICE, BOB, BOB_OWN, CAROL],
    "aliases": {
        at("sales@example.org"): [ALICE, at("bob+x@example.org")],
        at("all@example.org"): [at("sales@example.org"), CAROL],
        at("away@example.org"): [ALICE, at("somebody@elsewhere.example")],
        at("announce@example.org"): [at("club@example.org")],
        at("round@example.org"): [at("about@example.org")],
        at("about@example.org"): [at("round@example.org"), CAROL],
    },
    "lists": {
        at("club@example.org"): MailingList((ALICE, BOB), CAROL),
        at("orphan@other.example"): MailingList((ALICE, CAROL)),
    },
    "moved": {at("dora@example.org"): at("alice@example.org")},
    "catch_all": {"other.example": at("all@example.org"), "third.example": at("club@example.org")},
    "postmaster": BOB,
}

A, B, OWN, C = "alice", "bob", "bob+own", "carol"
ACCOUNTS = {A: ALICE, B: BOB, OWN: BOB_OWN, C: CAROL}


def table(**changes: object) -> RoutingTable:
    return RoutingTable(Names(**{**NAMES, **changes}))  # type: ignore[arg-type]


def senders(path: Address | None, routes: RoutingTable) -> set[str]:
    return {name for name, account in ACCOUNTS.items() if routes.may_send(account, path)}


@pytest.mark.parametrize(
    ("path", "may"),
    [
        # one's own name, in any spelling, with any detail
        ("alice@example.org", {A}),
        ("ALICE+shop@Example.ORG", {A}),
        ('"alice"@example.org', {A}),
        ("bob@example.org", {B}),
        ("bob+other@example.org", {B}),
        ("bob+own@example.org", {OWN}),
        # aliases, shared, of aliases, with a detail, with an end elsewhere, in a circle
        ("sales@example.org", {A, B}),
        ("Sales+x@example.org", {A, B}),
        ("all@example.org", {A, B, C}),
        ("away@example.org", {A}),
        ("round@example.org", {C}),
        # a list is nobody's, not by way of an alias either; its bounces are the owner's
        ("club@example.org", set()),
        ("announce@example.org", set()),
        ("club-bounces@example.org", {C}),
        ("CLUB-bounces+x@example.org", {C}),
        ("orphan-bounces@other.example", {B}),
        ("postmaster@example.org", {B}),
        ("PostMaster@third.example", {B}),
        # a catch-all gives the names that nobody else has
        ("anybody@other.example", {A, B, C}),
        ("carol@other.example", {C}),
        ("orphan@other.example", set()),
        ("anybody@third.example", set()),
        # names of nobody, of those who moved, of others
        ("anybody@example.org", set()),
        ("carol@example.org", set()),
        ("dora@example.org", set()),
        ("alice@elsewhere.example", set()),
        ("somebody@elsewhere.example", set()),
        ("postmaster@elsewhere.example", set()),
        ("alice@[127.0.0.1]", set()),
        ('"alice@example.org"@elsewhere.example', set()),
        ("alice%example.org@example.org", set()),
        ("+alice@example.org", set()),
    ],
)
def test_who_may_send_as_whom(path: str, may: set[str]) -> None:
    assert senders(at(path), table()) == may


def test_the_null_reverse_path_is_everybodys() -> None:
    assert senders(None, table()) == {A, B, OWN, C}


def test_the_spelling_of_the_account_makes_no_difference() -> None:
    assert table().may_send(at("ALICE@example.org"), ALICE)
    assert table().may_send(at("bob@example.org"), BOB)


def test_what_is_no_account_sends_nothing() -> None:
    routes = table()
    for path in ("sales@example.org", "anybody@other.example", "stranger@elsewhere.example"):
        assert not routes.may_send(at("stranger@elsewhere.example"), at(path))
        assert not routes.may_send(at("sales@example.org"), at(path))


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"postmaster": None}, {A}),  # the first account
        ({"aliases": {at("postmaster@example.org"): [CAROL, BOB_OWN]}, "catch_all": {}}, {C, OWN}),
        ({"accounts": [], "postmaster": None}, set()),
    ],
)
def test_postmaster_is_whoever_gets_its_mail(changes: dict[str, object], may: set[str]) -> None:
    assert senders(at("postmaster@example.org"), table(**changes)) == may


def test_whoever_moved_left_the_name_to_nobody() -> None:
    for name in ("sales@example.org", "postmaster@example.org", "anybody@other.example"):
        assert senders(at(name), table())
        assert senders(at(name), table(moved={at(name): at("new@elsewhere.example")})) == set()


def test_a_catch_all_that_leads_away_gives_nobody_the_names() -> None:
    for end in ("somebody@elsewhere.example", "postmaster@elsewhere.example", "alice@elsewhere.example"):
        assert senders(at("anybody@third.example"), table(catch_all={"third.example": at(end)})) == set()


def test_who_may_send_can_be_reached() -> None:
    """Whoever may send with a name gets its mail, too."""
    routes = table()
    for local in ("alice", "sales", "all", "away", "club-bounces", "postmaster", "anybody", "bob+x"):
        for domain in routes.domains:
            path = Address(local, domain)
            reached = {end.mailbox for end in routes.destinations(path, routes.name_of(path)) or ()}
            assert {ACCOUNTS[one].key for one in senders(path, routes)} <= reached


def test_asking_adds_no_problems() -> None:
    routes = table(aliases={at("lost@example.org"): [at("nobody@example.org"), ALICE]}, catch_all={})
    before = list(routes.problems)
    assert senders(at("lost@example.org"), routes) == {A}
    assert routes.problems == before


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("sales@example.org", Accept("Ok")),
        (
            "carol@other.example",
            Refuse(NOT_AUTHORIZED, "<carol@other.example> does not belong to your account", KEY),
        ),
        (
            "nobody@example.org",
            Refuse(NOT_AUTHORIZED, "<nobody@example.org> does not belong to your account", KEY),
        ),
    ],
)
def test_the_router_answers(path: str, answer: object) -> None:
    assert Router(table()).sender(ALICE, at(path)) == answer


def test_aliases_that_share_their_targets_are_followed_once() -> None:
    levels = [(at(f"a{n}@example.org"), at(f"b{n}@example.org")) for n in range(40)]
    aliases = {one: list(levels[n + 1]) for n, both in enumerate(levels[:-1]) for one in both}
    aliases |= {one: [ALICE] for one in levels[-1]}
    assert senders(at("a0@example.org"), table(aliases=aliases, catch_all={})) == {A}
