"""The documented file: it is made from the keys, and each line of it works when it is active."""

import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import pytest

from mailserver.config.document import render
from mailserver.config.keys.top_level import Config
from mailserver.config.loader import load
from mailserver.config.schema.tables import Tables, leaves_of

IN_THE_TREE = Path(__file__).parents[2] / "etc" / "mailserver.toml"
COMMENTED = re.compile(r"^# (\[.*\]|[a-z0-9_]+ = .*)$", re.MULTILINE)
# The table of an active line needs these.
NEEDED = (
    *("protocol", "endpoint", "certificate", "private_key", "address", "password", "to", "members"),
    *("domain", "selector", "key", "zone", "messages", "per"),
)


def test_the_file_in_the_tree_is_up_to_date() -> None:
    assert IN_THE_TREE.read_text(encoding="utf-8") == render()


def test_it_parses_to_the_defaults() -> None:
    assert load(IN_THE_TREE) == Config()


def test_with_every_line_active_it_loads(tmp_path: Path) -> None:
    path = tmp_path / "mailserver.toml"
    path.write_text(COMMENTED.sub(r"\1", render()), encoding="utf-8")
    config = load(path)
    assert len(config.listen) == len(config.accounts) == len(config.aliases) == len(config.lists) == 1
    assert len(config.certificates) == len(config.dkim) == len(config.dnsbl) == len(config.throttle) == 1
    assert config.tls is not None
    # A line without an example shows the default.
    for name, key in leaves_of(Config):
        if key.example is None and not isinstance(key.kind, Tables) and not name.startswith("tls."):
            assert attrgetter(name)(config) == attrgetter(name)(Config()), name


@pytest.mark.parametrize("number", range(len(COMMENTED.findall(render()))))
def test_with_one_line_active_it_loads(tmp_path: Path, number: int) -> None:
    """One line, and where it needs them its heading, the needed keys of the same table and [tls]."""
    lines = render().splitlines()
    commented = [index for index, line in enumerate(lines) if COMMENTED.match(line)]
    active = {commented[number]}
    if "example.org" in lines[commented[number]]:
        active.add(lines.index('# domains = ["example.org"]'))
    if lines[commented[number]].startswith("# atrn"):
        active.add(lines.index('# domains = ["example.net"]'))
    heading = max((i for i in range(commented[number] + 1) if re.match(r"(# )?\[", lines[i])), default=None)
    if heading is not None and lines[heading].startswith("# "):
        headings = {heading, lines.index("# [tls]")} if "[[certificate]]" in lines[heading] else {heading}
        for start in headings:
            end = next(i for i in range(start + 1, len(lines)) if re.match(r"(# )?\[", lines[i]))
            table = [i for i in commented if start < i < end]
            active |= {start, *(i for i in table if lines[i].removeprefix("# ").split(" = ")[0] in NEEDED)}
    path = tmp_path / "mailserver.toml"
    text = "\n".join(line.removeprefix("# ") if i in active else line for i, line in enumerate(lines))
    path.write_text(text, encoding="utf-8")
    load(path)


def test_sections_come_in_order() -> None:
    headings = re.findall(r"^(?:# )?\[+(\w+)\]+$", render(), re.MULTILINE)
    expected = (
        "listen tls certificate storage account alias list moved auth token smtp submission limits relay "
        "forward alerts throttle dns dkim policy dnsbl quarantine queue pop3 web log"
    )
    assert headings == expected.split()


def test_it_is_readable() -> None:
    assert max(map(len, render().splitlines())) <= 105
    assert render().isprintable() or set(re.findall(r"[^ -~]", render())) == {"\n", "…"}


def test_the_command_writes_it() -> None:
    command = [sys.executable, "-m", "mailserver.config.document"]
    written = subprocess.run(command, capture_output=True, check=True, cwd=IN_THE_TREE.parents[1])
    assert written.stdout.decode() == render()
