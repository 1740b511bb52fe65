"""The lines of the keys in a file."""

from pathlib import Path

import pytest

from mailserver.config.origins import lines_of, origins

LINES = {
    "": {},
    "# a = 1\n\n\na = 1 # b = 2\n": {"a": 4},
    "a = 1\r\nb = 2\r\n": {"a": 1, "b": 2},
    "[s]\na = 1\n\n[t]\na = 2": {"s": 1, "s.a": 2, "t": 4, "t.a": 5},
    "s.a = 1\ns.b = 2": {"s": 1, "s.a": 1, "s.b": 2},
    '"a b" = 1\n': {"a b": 1},
    'a = """\nb = 1\n[c]\n"""\nd = 1': {"a": 1, "d": 5},
    "a = [\n  1,\n  2, # two\n]\nb = 1": {"a": 1, "b": 5},
    "a = [\n  1,\n]  # those,\nb = 1": {"a": 1, "b": 4},
    "[[x]]\na = 1\n\n[[x]]\na = 2\n[y]\nb = 3": {"x": 1, "x[1]": 1, "x[2]": 4, "y": 6, "y.b": 7},
    "[relay.routes]\n'a' = 1": {"relay.routes": 1, "relay.routes.a": 2},
    "s = { a = 1, b = { c = 2 } }": {"s": 1, "s.a": 1, "s.b": 1, "s.b.c": 1},
}  # fmt: skip


@pytest.mark.parametrize("text", LINES)
def test_lines(text: str) -> None:
    assert lines_of(text) == LINES[text]


def test_a_long_array() -> None:
    """It is not parsed after each of its lines, which would take minutes."""
    items = "\n".join(f'  "user{number}@example.org",' for number in range(20_000))
    assert lines_of(f"a = [\n{items}\n]\nb = 1\n") == {"a": 1, "b": 20_003}


def test_the_environment_wins(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text('hostname = "a.example"\n[smtp]\nhop_limit = 30\nmax_recipients = 200\n')
    found = origins(path, {"MAILSERVER__SMTP__HOP_LIMIT": "40", "MAILSERVER__POP3__LOGIN_DELAY": "1s"})
    assert {key: found[key] for key in ("hostname", "smtp.hop_limit", "smtp.max_recipients")} == {
        "hostname": f"{path}:1",
        "smtp.hop_limit": "MAILSERVER__SMTP__HOP_LIMIT",
        "smtp.max_recipients": f"{path}:4",
    }
    assert found["pop3.login_delay"] == "MAILSERVER__POP3__LOGIN_DELAY"
    assert "smtp.verify" not in found
