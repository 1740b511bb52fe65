"""Messages with SMTPUTF8 on their way: they go on with it, without it where they need none, or come back."""

from pathlib import Path

import pytest

from tests.support.far_sides.far_side import EXTENSIONS
from tests.support.world import TEXT, World, world

ZOE = "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"
UTF8 = ("SMTPUTF8", "BODY=8BITMIME")
GREETING = TEXT.replace(b"to the world", "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}e".encode())
TABLES = f'''
[[alias]]
address = "{ZOE}@example.org"
to = ["bob@old.example"]
'''


def worlds(here: World) -> None:
    here.domain("new.example")
    here.domain("old.example", extensions=[one for one in EXTENSIONS if one != "SMTPUTF8"])


@pytest.mark.parametrize(
    ("to", "content", "options", "copies", "bounces"),
    [
        ([f"{ZOE}@new.example"], GREETING, UTF8, {f"{ZOE}@new.example": 1}, {}),
        ([f"{ZOE}@old.example"], TEXT, UTF8, {}, {"zo\\x{EB}@old.example": ["5.6.7"]}),
        (
            ["bob@new.example", "bob@old.example"],
            TEXT,
            UTF8,
            {"bob@new.example": 1, "bob@old.example": 1},
            {},
        ),
        (
            ["bob@new.example", "bob@old.example"],
            GREETING,
            UTF8,
            {"bob@new.example": 1},
            {"bob@old.example": ["5.6.7"]},
        ),
        # without the parameter: as before there was one
        (
            ["bob@new.example", "bob@old.example"],
            GREETING,
            (),
            {"bob@new.example": 1, "bob@old.example": 1},
            {},
        ),
        # what this server adds needs no SMTPUTF8
        ([f"{ZOE}@example.org"], TEXT, UTF8, {"bob@old.example": 1}, {}),
    ],
)
def test_on_its_way(
    tmp_path: Path,
    to: list[str],
    content: bytes,
    options: tuple[str, ...],
    copies: dict[str, int],
    bounces: dict[str, list[str]],
) -> None:
    with world(tmp_path, TABLES) as here:
        worlds(here)
        assert here.send(*to, content=content, options=options) == {}
        here.reactor.pass_time(60.0)
        assert (dict(here.copies()), here.bounces()) == (copies, bounces)
        for far in here.sides.values():
            for one in far.kept:
                trace, _, rest = one.content.partition(b"From:")
                assert b"From:" + rest == content and trace.isascii()
                assert f" with {'UTF8SMTP' if options else 'ESMTP'} id ".encode() in trace
