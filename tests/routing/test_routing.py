"""Recipients and the mailboxes their mail goes to."""

import pytest

from mailserver.mail.address import Address
from mailserver.mail.verdict import Accept, CannotVerify, Forwarded, Members, Moved, Refuse, Routed
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable


def at(text: str) -> Address:
    return Address.parse(text)


ACCOUNTS = [
    at("alice@example.org"),
    at("Bob@example.org"),
    at("bob+own@example.org"),
    at("carol@other.example"),
]
GROUPS = {
    at("sales@example.org"): [at("alice@example.org"), at("bob@example.org")],
    at("all@example.org"): [at("sales@example.org"), at("carol@other.example"), at("ALICE+x@example.org")],
    at("away@example.org"): [at("alice@example.org"), at("somebody@elsewhere.example")],
    at("far@example.org"): [at("away@example.org")],
}


def table(**changes: object) -> RoutingTable:
    given: dict[str, object] = {
        "domains": ["example.org", "other.example"],
        "accounts": ACCOUNTS,
        "aliases": GROUPS,
        **changes,
    }
    return RoutingTable(Names(**given))  # type: ignore[arg-type]


def told(routes: RoutingTable) -> list[str]:
    return [problem.text for problem in routes.problems]


def route(recipient: str, routes: RoutingTable | None = None) -> object:
    return Router(routes or table()).route(at(recipient))


@pytest.mark.parametrize(
    ("recipient", "mailboxes"),
    [
        ("alice@example.org", ["alice@example.org"]),
        ("ALICE@example.org", ["alice@example.org"]),
        ("alice+tag@example.org", ["alice@example.org"]),
        ("bob+own@example.org", ["bob+own@example.org"]),
        ("bob+other@example.org", ["bob@example.org"]),
        ("sales@example.org", ["alice@example.org", "bob@example.org"]),
        ("sales+x@example.org", ["alice@example.org", "bob@example.org"]),
        ("all@example.org", ["alice@example.org", "bob@example.org", "carol@other.example"]),
        ("postmaster@example.org", ["alice@example.org"]),
        ("PostMaster@other.example", ["alice@example.org"]),
    ],
)
def test_destinations(recipient: str, mailboxes: list[str]) -> None:
    routed = route(recipient)
    assert isinstance(routed, Routed)
    assert [str(destination.mailbox) for destination in routed.destinations] == mailboxes
    assert {str(destination.delivered_to) for destination in routed.destinations} == {str(at(recipient))}


def test_earlier_recipients_do_not_matter() -> None:
    names = [
        "alice",
        "ALICE",
        "alice+tag",
        "bob+own",
        "bob+other",
        "bob",
        "sales+x",
        "sales",
        "nobody",
        "away",
    ]
    recipients = [f"{name}@example.org" for name in names]
    for order in (recipients, recipients[::-1], recipients * 2):
        shared = table()
        for recipient in order:
            assert route(recipient, shared) == route(recipient)


@pytest.mark.parametrize(
    ("recipient", "status"),
    [
        ("nobody@example.org", (1, 1)),
        ("carol@example.org", (1, 1)),
        ("+alice@example.org", (1, 1)),
        # tricks that ask for a relay
        ("somebody%elsewhere.example@example.org", (1, 1)),
        ("elsewhere.example!somebody@example.org", (1, 1)),
        ('"somebody@elsewhere.example"@example.org', (1, 1)),
    ],
)
def test_refusals(recipient: str, status: tuple[int, int]) -> None:
    refused = route(recipient)
    assert isinstance(refused, Refuse)
    assert (refused.status.subject, refused.status.detail) == status


@pytest.mark.parametrize(
    ("recipient", "here", "elsewhere", "relayed"),
    [
        ("alice@elsewhere.example", [], ["alice@elsewhere.example"], True),
        ("postmaster@elsewhere.example", [], ["postmaster@elsewhere.example"], True),
        ("alice@[127.0.0.1]", [], ["alice@[127.0.0.1]"], True),
        ("away@example.org", ["alice@example.org"], ["somebody@elsewhere.example"], False),
        ("far@example.org", ["alice@example.org"], ["somebody@elsewhere.example"], False),
    ],
)
def test_mail_for_other_servers(recipient: str, here: list[str], elsewhere: list[str], relayed: bool) -> None:
    routed = route(recipient)
    assert isinstance(routed, Routed)
    found = [(str(end.mailbox), end.remote) for end in routed.destinations]
    assert sorted(found) == sorted([(end, False) for end in here] + [(end, True) for end in elsewhere])
    assert {str(end.delivered_to) for end in routed.destinations} == {recipient}
    assert routed.relayed == relayed


def test_postmaster_can_be_somebody_else() -> None:
    routed = route("postmaster@example.org", table(postmaster=at("bob+own@example.org")))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == ["bob+own@example.org"]
    groups = {at("postmaster@example.org"): [at("carol@other.example")]}
    routed = route("postmaster@example.org", table(aliases=groups))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == ["carol@other.example"]


def test_without_any_account_postmaster_is_kept_all_the_same() -> None:
    routed = route("postmaster@example.org", table(accounts=[], aliases={}))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == ["postmaster@example.org"]


def test_problems_name_the_circle_and_the_missing_member() -> None:
    groups = {
        at("a@example.org"): [at("b@example.org")],
        at("b@example.org"): [at("c@example.org"), at("alice@example.org")],
        at("c@example.org"): [at("b@example.org")],
        at("d@example.org"): [at("nobody@example.org")],
    }
    problems = told(table(aliases=groups))
    circles = [problem for problem in problems if "alias loop" in problem]
    assert circles == ["alias loop: b@example.org -> c@example.org -> b@example.org"]
    assert "d@example.org leads to nobody@example.org, which does not exist here" in problems
    assert table().problems == []
    lost = table(postmaster=at("nobody@example.org"))
    assert "postmaster@example.org leads to nobody@example.org, which does not exist here" in told(lost)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"postmaster": at("root@elsewhere.example")}, "postmaster@example.org leads to another server"),
        (
            {"aliases": {at("postmaster@example.org"): [at("root@elsewhere.example")]}},
            "postmaster@example.org leads to another server",
        ),
        (
            {"moved": {at("postmaster@other.example"): at("a@b.example")}},
            "postmaster@other.example has moved",
        ),
    ],
)
def test_mail_for_postmaster_must_be_taken(changes: dict[str, object], problem: str) -> None:
    assert any(line.startswith(problem) for line in told(table(**changes)))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("alice", Accept("<alice@example.org>")),
        ("BOB", Accept("<Bob@example.org>")),
        ("bob+x@example.org", Accept("<Bob@example.org>")),
        ("sales", Accept("<sales@example.org>")),
        ("carol@other.example", Accept("<carol@other.example>")),
        ("prez@elsewhere", CannotVerify()),
    ],
)
def test_verify(name: str, answer: object) -> None:
    assert Router(table()).verify(name) == answer


@pytest.mark.parametrize("name", ["jessica", "carol", "a b", "@", "", "<alice"])
def test_verify_of_unknown_names(name: str) -> None:
    assert isinstance(Router(table()).verify(name), Refuse)


CLUB = at("club@example.org")
MORE = {
    "aliases": {**GROUPS, at("sold@example.org"): [at("carol@other.example")]},
    "announced": [at("sold@example.org")],
    "lists": {
        CLUB: MailingList((at("alice@example.org"), at("Bob+x@example.org"), at("sales@example.org"))),
        at("inner@example.org"): MailingList((CLUB,), at("carol@other.example")),
    },
    "moved": {at("dora@example.org"): at("dora@elsewhere.example")},
    "catch_all": {"other.example": at("bob@example.org")},
}


def test_lists_get_their_own_bounces() -> None:
    routed = route("club@example.org", table(**MORE))
    assert isinstance(routed, Routed)
    assert {(str(end.mailbox), str(end.bounces_to)) for end in routed.destinations} == {
        ("alice@example.org", "club-bounces@example.org"),
        ("bob@example.org", "club-bounces@example.org"),
    }
    # a list within a list is the one nearer to the mailbox
    routed = route("inner@example.org", table(**MORE))
    assert isinstance(routed, Routed)
    assert {str(end.bounces_to) for end in routed.destinations} == {"club-bounces@example.org"}
    # an alias is none
    routed = route("sales@example.org", table(**MORE))
    assert isinstance(routed, Routed)
    assert {end.bounces_to for end in routed.destinations} == {None}


@pytest.mark.parametrize(
    ("recipient", "mailbox"),
    [
        ("club-bounces@example.org", "alice@example.org"),
        ("INNER-bounces+x@example.org", "carol@other.example"),
    ],
)
def test_bounces_of_a_list_arrive(recipient: str, mailbox: str) -> None:
    routed = route(recipient, table(**MORE))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == [mailbox]
    assert {end.bounces_to for end in routed.destinations} == {None}


def test_an_alias_can_be_announced() -> None:
    routed = route("sold@example.org", table(**MORE))
    assert isinstance(routed, Routed)
    assert routed.announced == at("carol@other.example")
    assert [str(end.mailbox) for end in routed.destinations] == ["carol@other.example"]
    assert route("sales@example.org", table(**MORE)).announced is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("recipient", ["dora@example.org", "DORA+x@example.org"])
def test_those_who_moved(recipient: str) -> None:
    assert route(recipient, table(**MORE)) == Moved(at("dora@elsewhere.example"))


def test_a_catch_all_takes_what_nobody_else_does() -> None:
    routed = route("anybody@other.example", table(**MORE))
    assert isinstance(routed, Routed)
    assert [(str(end.mailbox), str(end.delivered_to)) for end in routed.destinations] == [
        ("bob@example.org", "anybody@other.example")
    ]
    routed = route("carol@other.example", table(**MORE))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == ["carol@other.example"]
    assert isinstance(route("anybody@example.org", table(**MORE)), Refuse)
    lost = table(catch_all={"other.example": at("nobody@example.org")})
    assert told(lost) == ["other.example leads to nobody@example.org, which does not exist here"]
    assert table(**MORE).problems == []


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("sold", Forwarded(at("carol@other.example"))),
        ("dora", Moved(at("dora@elsewhere.example"))),
        ("anybody@other.example", CannotVerify()),
        ("club", Accept("<club@example.org>")),
    ],
)
def test_verify_of_more_names(name: str, answer: object) -> None:
    assert Router(table(**MORE)).verify(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("club", Members(MORE["lists"][CLUB].members)),  # type: ignore[index]
        ("CLUB@example.org", Members(MORE["lists"][CLUB].members)),  # type: ignore[index]
        ("club@elsewhere.example", CannotVerify()),
    ],
)
def test_expand(name: str, answer: object) -> None:
    assert Router(table(**MORE)).expand(name) == answer


@pytest.mark.parametrize("name", ["alice", "sales", "nobody", "a b", "club-bounces", "dora"])
def test_expand_of_what_is_no_list(name: str) -> None:
    assert isinstance(Router(table(**MORE)).expand(name), Refuse)


def test_an_announced_alias_for_another_server() -> None:
    buyer = at("buyer@elsewhere.example")
    routes = table(aliases={at("sold@example.org"): [buyer]}, announced=[at("sold@example.org")])
    routed = route("sold@example.org", routes)
    assert isinstance(routed, Routed)
    assert (routed.announced, routed.relayed) == (buyer, False)
    assert Router(routes).verify("sold") == Forwarded(buyer)


def test_aliases_that_share_their_targets_are_followed_once() -> None:
    levels = [(at(f"a{n}@example.org"), at(f"b{n}@example.org")) for n in range(40)]
    aliases = {one: list(levels[n + 1]) for n, both in enumerate(levels[:-1]) for one in both}
    aliases |= {one: [at("alice@example.org")] for one in levels[-1]}
    routed = route("a0@example.org", table(aliases=aliases))
    assert isinstance(routed, Routed)
    assert [str(end.mailbox) for end in routed.destinations] == ["alice@example.org"]
