"""Marks, totals and LAST in any order of commands, against a plain model; removal at QUIT alone."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.pop3 import FakeServer, maildrop_of, message_of
from tests.support.runs import examples

numbers = st.integers(0, 6)


class Marks(RuleBasedStateMachine):
    @initialize(sizes=st.lists(st.integers(40, 300), max_size=5))
    def log_in(self, sizes: list[int]) -> None:
        self.sizes = dict(enumerate(sizes, 1))
        self.marked: set[int] = set()
        self.last = 0
        self.server = FakeServer(messages=maildrop_of(message_of(size) for size in sizes)).logged_in()

    def say(self, command: str) -> str:
        return self.server.feed(f"{command}\r\n".encode()).decode()

    @property
    def present(self) -> dict[int, int]:
        return {number: size for number, size in self.sizes.items() if number not in self.marked}

    @property
    def total(self) -> str:
        count = len(self.present)
        return f"{count} message{'s' if count != 1 else ''} ({sum(self.present.values())} octets)"

    def refusal(self, number: int) -> str:
        if number in self.marked:
            return f"-ERR message {number} already deleted\r\n"
        count = len(self.sizes)
        return f"-ERR no such message, only {count} message{'s' if count != 1 else ''} in maildrop\r\n"

    @rule(number=numbers)
    def dele(self, number: int) -> None:
        reply = self.say(f"DELE {number}")
        if number in self.present:
            self.marked.add(number)
            self.last = max(self.last, number)
            assert reply == f"+OK message {number} deleted\r\n"
        else:
            assert reply == self.refusal(number)

    @rule(number=numbers)
    def retr(self, number: int) -> None:
        reply = self.say(f"RETR {number}")
        if number in self.present:
            self.last = max(self.last, number)
            size = self.sizes[number]
            assert reply == f"+OK {size} octets\r\n" + message_of(size).decode() + ".\r\n"
        else:
            assert reply == self.refusal(number)

    @rule(number=numbers, verb=st.sampled_from(["LIST", "UIDL", "TOP"]))
    def ask_for_one(self, number: int, verb: str) -> None:
        reply = self.say(f"{verb} {number}" + (" 0" if verb == "TOP" else ""))
        if number not in self.present:
            assert reply == self.refusal(number)
        elif verb == "TOP":
            assert reply == "+OK top of message follows\r\nSubject: short\r\n\r\n.\r\n"
        else:
            assert reply == f"+OK {number} {self.sizes[number] if verb == 'LIST' else f'uid-{number}'}\r\n"

    @rule()
    def ask_for_all(self) -> None:
        sizes = "".join(f"{number} {size}\r\n" for number, size in self.present.items())
        uids = "".join(f"{number} uid-{number}\r\n" for number in self.present)
        assert self.say("STAT") == f"+OK {len(self.present)} {sum(self.present.values())}\r\n"
        assert self.say("LIST") == f"+OK {self.total}\r\n{sizes}.\r\n"
        assert self.say("UIDL") == f"+OK unique-id listing follows\r\n{uids}.\r\n"
        assert self.say("LAST") == f"+OK {self.last}\r\n"

    @rule()
    def rset(self) -> None:
        self.marked, self.last = set(), 0
        assert self.say("RSET") == f"+OK maildrop has {self.total}\r\n"

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self.ask_for_all()
        assert self.server.removed is None
        left = len(self.present)
        farewell = f"{left} message{'s' if left != 1 else ''} left" if left else "maildrop empty"
        assert self.say("QUIT") == f"+OK dewey POP3 server signing off ({farewell})\r\n"
        assert self.server.removed == tuple(number - 1 for number in sorted(self.marked))


TestMarks = Marks.TestCase
TestMarks.settings = settings(max_examples=examples(2), stateful_step_count=25)
