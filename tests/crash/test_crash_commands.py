"""The commands and controls that docs/durability.md names exist."""

import importlib
import inspect
import re
import sys

import pytest

from tests.support.e2e.server import ROOT

TEXT = (ROOT / "docs/durability.md").read_text()
COMMANDS = sorted(set(re.findall(r"`(?:python -m )?(tests\.crash\.\w+)([^`]*)`((?:, `[a-z-]+`)*)", TEXT)))


@pytest.mark.parametrize(("module", "options", "more"), COMMANDS, ids=str)
def test_command(
    module: str,
    options: str,
    more: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.setenv("COLUMNS", "1000")
    main = importlib.import_module(module).main
    with pytest.raises(SystemExit):
        main(*[["--help"]] * len(inspect.signature(main).parameters))
    words = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert words.issuperset(word for word in options.split() if not word.isdigit())
    assert words.issuperset(re.findall("[a-z-]+", more))


def test_all_proofs_are_named() -> None:
    assert {module.rpartition(".")[2] for module, _, _ in COMMANDS} == {
        "failover",
        "faults",
        "kill",
        "nodes",
        "power",
        "states",
        "workers",
    }
