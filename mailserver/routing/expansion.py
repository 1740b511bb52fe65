"""Expands aliases and lists to their final mailboxes.

Each name is expanded once and without recursion, also for long chains, many paths to the same mailbox, and
loops. A group that is too deep or too large is reported as a problem, but still expanded.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from mailserver.mail.address import Address

MAX_DEPTH = 50  # nested aliases and lists
MAX_MAILBOXES = 10_000

# Final mailboxes, each with the bounce address of its list, None if bounces go to the sender.
Ends = Mapping[Address, Address | None]


@attrs.frozen
class ExpansionProblem:
    """A configuration error of the name ``owner``: an address, or a domain with a catch-all."""

    owner: str
    text: str


class Expansion:
    """The expansion of all groups. ``problems`` has loops and groups that are too deep or too large."""

    def __init__(
        self, groups: Mapping[Address, Sequence[Address]], bounces: Mapping[Address, Address]
    ) -> None:
        """``groups`` has the members of each alias and list, ``bounces`` the bounce addresses of lists.

        A member that is not a group is final.
        """
        self._groups = groups
        self._bounces = bounces
        self.problems: list[ExpansionProblem] = []
        self._ends: dict[Address, Ends] = {}
        self._depths: dict[Address, int] = {}
        # Groups in a loop, leading to one, or too large. They are expanded on demand.
        self._unsettled: set[Address] = set()
        for name in groups:
            self._settle(name)

    def ends(self, name: Address) -> Ends:
        """The final mailboxes of ``name``, each once, in the order of the members."""
        if name not in self._groups:
            return {name: None}
        found = self._ends.get(name)
        if found is None:
            found = self._ends[name] = self._walk(name)
        return found

    def _settle(self, root: Address) -> None:
        """Expand ``root``, after all groups that it leads to."""
        if root in self._depths:
            return
        path: dict[Address, Iterator[Address]] = {root: iter(self._groups[root])}
        while path:
            name = next(reversed(path))
            for member in path[name]:
                if member in path:
                    self._found_circle([*path], member)
                elif member in self._groups and member not in self._depths:
                    path[member] = iter(self._groups[member])
                    break
            else:
                del path[name]
                self._join(name)

    def _join(self, name: Address) -> None:
        """Compute the final mailboxes of ``name`` from those of its members."""
        members, bounces = self._groups[name], self._bounces.get(name)
        groups = [member for member in members if member in self._groups]
        depth = self._depths[name] = 1 + max([self._depths.get(member, 0) for member in groups], default=0)
        if depth == MAX_DEPTH + 1:  # groups above it need no report of their own
            text = f"{name} leads through more than {MAX_DEPTH} nested aliases and lists"
            self.problems.append(ExpansionProblem(str(name), text))
        if not self._unsettled.isdisjoint([name, *groups]):
            self._unsettled.add(name)
            return
        if len(members) == 1 and groups and bounces is None:
            self._ends[name] = self._ends[groups[0]]
            return
        ends: dict[Address, Address | None] = {}
        for member in members:
            for mailbox, own in self._ends.get(member, {member: None}).items():
                ends.setdefault(mailbox, own or bounces)
            if len(ends) > MAX_MAILBOXES:
                text = f"{name} leads to more than {MAX_MAILBOXES} mailboxes"
                self.problems.append(ExpansionProblem(str(name), text))
                self._unsettled.add(name)
                return
        self._ends[name] = ends

    def _found_circle(self, path: list[Address], again: Address) -> None:
        circle = path[path.index(again) :]
        self._unsettled.update(circle)
        # The same text wherever the loop is entered, so that it is reported once.
        first = circle.index(min(circle))
        circle = [*circle[first:], *circle[:first], circle[first]]
        shown = [*map(str, circle)] if len(circle) <= 12 else [*map(str, circle[:10]), "…", str(circle[-1])]
        text = f"alias loop: {' -> '.join(shown)}"
        self.problems.append(ExpansionProblem(str(circle[0]), text))

    def _walk(self, root: Address) -> Ends:
        """Expand an unsettled name."""
        ends: dict[Address, Address | None] = {}
        seen: set[tuple[Address, Address | None]] = {(root, None)}
        ahead = [(iter(self._groups[root]), self._bounces.get(root))]
        while ahead:
            members, bounces = ahead[-1]
            for member in members:
                if (member, bounces) in seen:
                    continue
                seen.add((member, bounces))
                if member in self._groups:
                    ahead.append((iter(self._groups[member]), self._bounces.get(member, bounces)))
                    break
                ends.setdefault(member, bounces)
            else:
                ahead.pop()
        return ends
