"""Aliases and lists followed to their ends: large graphs, deep ones, circles; and what it costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Address
from mailserver.mail.verdict import Routed
from mailserver.routing.expansion import MAX_DEPTH, MAX_MAILBOXES, Ends, Expansion
from mailserver.routing.router import Router
from mailserver.routing.table import MailingList, Names, RoutingTable


def at(local: str) -> Address:
    return Address(local, "example.org")


Groups = dict[Address, list[Address]]
Makes = Callable[[], Groups]
END = at("alice")


def chain(length: int) -> Groups:
    return {at(f"a{n}"): [at(f"a{n + 1}") if n + 1 < length else END] for n in range(length)}


def layers(depth: int, width: int, end: Sequence[Address] = (END,)) -> Groups:
    return {
        at(f"a{n}-{m}"): [at(f"a{n + 1}-{k}") for k in range(width)] if n + 1 < depth else [*end]
        for n in range(depth)
        for m in range(width)
    }


def upside_down(groups: Groups) -> Groups:
    return dict(reversed(groups.items()))


class Counted(list[Address]):
    """Members, and how many of them were looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[Address]:
        for member in super().__iter__():
            Counted.looked_at += 1
            yield member


def looked_at(groups: Groups, *asked: str) -> int:
    Counted.looked_at = 0
    expansion = Expansion({name: Counted(members) for name, members in groups.items()}, {})
    assert [set(expansion.ends(at(name))) for name in asked] == [{END}] * len(asked)
    return Counted.looked_at


@pytest.mark.parametrize(
    ("one", "four", "asked"),
    [
        (lambda: chain(100), lambda: chain(400), ["a0"]),
        (lambda: layers(10, 10), lambda: layers(40, 10), ["a0-0", "a3-1"]),
        (lambda: layers(20, 10), lambda: layers(20, 20), ["a0-0"]),  # four times the edges
        (lambda: layers(10, 10, [at("a0-0"), END]), lambda: layers(40, 10, [at("a0-0"), END]), ["a0-0"]),
        (lambda: upside_down(chain(100)), lambda: upside_down(chain(400)), ["a0"]),
    ],
    ids=["a chain", "more layers", "wider layers", "in a circle", "a chain from its end"],
)
def test_work_grows_with_the_number_of_members(one: Makes, four: Makes, asked: list[str]) -> None:
    much = looked_at(four(), *asked)
    assert much <= 4.5 * looked_at(one(), *asked)
    assert much <= 6 * sum(map(len, four().values()))


def told(groups: Groups, bounces: Mapping[Address, Address] = {}) -> list[str]:
    return [problem.text for problem in Expansion(groups, bounces).problems]


@pytest.mark.parametrize("length", [MAX_DEPTH + 1, 400, 1500, 20_000])
def test_a_chain_that_is_too_long_is_named_and_works(length: int) -> None:
    groups = chain(length)
    expected = f"a{length - MAX_DEPTH - 1}@example.org leads through more than 50 nested aliases and lists"
    assert told(groups) == [expected]
    assert Expansion(groups, {}).ends(at("a0")) == {END: None}
    assert told(chain(MAX_DEPTH)) == []


@pytest.mark.parametrize(("depth", "width"), [(40, 20), (MAX_DEPTH, 10), (2, 200)])
def test_many_ways_to_the_same_mailbox_are_no_problem(depth: int, width: int) -> None:
    expansion = Expansion(layers(depth, width), {})
    assert expansion.problems == []
    assert expansion.ends(at("a0-0")) == {END: None}


def test_too_many_mailboxes_are_named_and_served() -> None:
    most = [at(f"u{n}") for n in range(MAX_MAILBOXES)]
    groups = {
        at("full"): most,
        at("more"): [*most, END],
        at("both"): [at("full"), END],
        at("up"): [at("both")],
    }
    assert told(groups) == [
        f"{name}@example.org leads to more than {MAX_MAILBOXES} mailboxes" for name in ("more", "both")
    ]
    for name in ("more", "both", "up"):
        assert list(Expansion(groups, {}).ends(at(name))) == [*most, END]


def test_a_circle_is_told_once_and_mail_goes_on_to_the_others() -> None:
    groups = {at("a"): [at("b"), at("x")], at("b"): [at("c"), END], at("c"): [at("b"), at("y")]}
    assert told(groups) == [
        "alias loop: b@example.org -> c@example.org -> b@example.org",
    ]
    expansion = Expansion(groups, {})
    assert set(expansion.ends(at("c"))) == {END, at("y")}
    assert set(expansion.ends(at("a"))) == {END, at("x"), at("y")}
    [long] = told({**chain(1500), at("a1499"): [at("a0")]})[:1]
    assert len(long) < 400


def recursive(groups: Groups, bounces: Mapping[Address, Address], name: Address) -> Ends:
    """The definition: all members in their order, the first way counts, a circle is not gone round."""
    ends: dict[Address, Address | None] = {}

    def follow(name: Address, bounces_to: Address | None, path: tuple[Address, ...]) -> None:
        if name not in groups:
            ends.setdefault(name, bounces_to)
        elif name not in path:
            for member in groups[name]:
                follow(member, bounces.get(name, bounces_to), (*path, name))

    follow(name, None, ())
    return ends


members = st.lists(st.sampled_from("abcdefuvwxyz").map(at), max_size=4)
graphs = st.dictionaries(st.sampled_from("abcdef").map(at), members)
bounce_addresses = st.dictionaries(st.sampled_from("abc").map(at), st.sampled_from("lmn").map(at))


@given(graphs, bounce_addresses)
def test_every_graph_has_the_ends_of_the_definition(
    groups: Groups, bounces: Mapping[Address, Address]
) -> None:
    expansion = Expansion(groups, bounces)
    circles = any("alias loop" in problem.text for problem in expansion.problems)
    for name in map(at, "abcdefu"):
        found, wanted = expansion.ends(name), recursive(groups, bounces, name)
        assert set(found) == set(wanted)
        if not circles:
            assert list(found.items()) == list(wanted.items())


def test_a_table_of_large_lists_gives_each_mailbox_once() -> None:
    accounts = [at(f"u{n}") for n in range(6000)]
    lists = {at(f"l{n}"): MailingList(tuple(accounts[n * 50 : n * 50 + 5000])) for n in range(20)}
    table = RoutingTable(
        Names(
            domains=["example.org"],
            accounts=accounts,
            lists=lists,
            aliases={at("all"): [at("l0"), at("l19")]},
        )
    )
    assert table.problems == []
    routed = Router(table).route(at("all"))
    assert isinstance(routed, Routed)
    ends = routed.destinations
    assert [end.mailbox for end in ends] == accounts[:5950]
    assert ends[0].bounces_to == at("l0-bounces")
    assert ends[-1].bounces_to == at("l19-bounces")


def test_a_name_that_leads_to_nobody_any_more_is_refused() -> None:
    """As an alias of the account store whose target the configuration has lost."""
    table = RoutingTable(
        Names(
            domains=["example.org"],
            accounts=[END],
            aliases={at("sales"): [at("bob")], at("a"): [at("b")], at("b"): [at("a")]},
            catch_all={"example.org": at("bob")},
        )
    )
    for name in ("sales", "a", "b", "anybody"):
        assert table.destinations(at(name), table.name_of(at(name))) is None
