"""Statements that SQLite understands, too, in the form of psycopg."""

import re
from functools import cache


@cache
def translated(statement: str) -> str:
    """A statement with the places of SQLite (``?``, ``?1``) in the form of psycopg."""
    return re.sub(
        r"\?(\d*)", lambda place: f"%({place[1]})s" if place[1] else "%s", statement.replace("%", "%%")
    )
