"""docs/fixture-http.md: its commands print what the page says, in one shell; its tables are whole."""

import re
import sys
from pathlib import Path

import pytest

from mailserver.cli.fixture import fixture
from mailserver.testing.http.routes import ROUTES
from mailserver.testing.http.rules import ACTS, RULE
from tests.support.docs.blocks import blocks
from tests.support.docs.page import Page, spans
from tests.support.e2e.programs import SEARCH, need, run
from tests.support.e2e.server import ROOT

DOCUMENT = ROOT / "docs" / "fixture-http.md"
ANY = "…"  # stands for any text
END = "-- end of a block --"


def pairs() -> list[tuple[str, str]]:
    """Commands, each with the output that is shown behind it."""
    found: list[tuple[str, str]] = []
    for block in blocks(DOCUMENT):
        if block.kind == "sh":
            found.append((block.text, ""))
        else:
            assert block.kind == "text"
            found[-1] = (found[-1][0], block.text)
    return found


def test_commands_print_what_the_page_says(tmp_path: Path) -> None:
    need("curl")
    command = tmp_path / "mailserver"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m mailserver "$@"\n')
    command.chmod(0o755)
    script = "".join(f"{text}\necho; echo '{END}'\n" for text, _ in pairs())
    path = {"PATH": f"{tmp_path}:{SEARCH}"}
    done = run(tmp_path, need("bash"), "-euo", "pipefail", "-c", script, env=path)
    *printed, rest = done.stdout.decode().split(f"{END}\n")
    assert rest == ""
    for (text, shown), got in zip(pairs(), printed, strict=True):
        pattern = re.escape(shown.strip()).replace(ANY, ".*?")
        assert re.fullmatch(pattern, got.strip(), re.DOTALL), f"{text}\nprinted:\n{got}"


@pytest.fixture(scope="module")
def page() -> Page:
    return Page.read(DOCUMENT)


def named(page: Page, heading: str, column: str) -> list[str]:
    return [name for row in page.table(heading, column) for name in spans(row[column])]


def test_all_requests_are_there(page: Page) -> None:
    of_the_program = {"GET /servers", "POST /servers", "DELETE /servers/{server}"}
    told = named(page, "Requests", "request")
    assert sorted(told) == sorted({f"{route.method} {route.path}" for route in ROUTES} | of_the_program)


def test_all_keys_and_acts_are_there(page: Page) -> None:
    assert named(page, "Rules", "key") == list(RULE)
    acts = [re.findall(r"\w+", act)[0] for act in named(page, "Rules", "act")]
    assert sorted(set(acts)) == sorted(ACTS)


def test_all_options_are_there(page: Page) -> None:
    told = [option.split()[0] for option in named(page, "Start", "option")]
    assert sorted(told) == sorted(name for each in fixture.params for name in each.opts)
