"""The Python blocks of docs/fixture.md run as they stand: tests under pytest, others as programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docs.blocks import IN_A_TEST, Block, blocks
from tests.support.docs.page import ROOT

PAGE = ROOT / "docs" / "fixture.md"
PYTHON = [block for block in blocks(PAGE) if block.kind == "python"]
[FIRST] = blocks(ROOT / "README.md", IN_A_TEST)


def is_test(block: Block) -> bool:
    return "\ndef test_" in block.text


def test_the_blocks_are_found() -> None:
    assert len(PYTHON) > 7 and {block.kind for block in blocks(PAGE)} == {"python", "text"}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_test_passes(tmp_path: Path) -> None:
    count = 0
    for number, block in enumerate(filter(is_test, PYTHON)):
        (tmp_path / f"test_{number}.py").write_text(block.text)
        count += block.text.count("\ndef test_")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    output = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:twisted")
    assert f"{count + 5} passed" in output  # one of them has six cases


@pytest.mark.parametrize("block", [block for block in PYTHON if not is_test(block)], ids=lambda b: b.heading)
def test_programs(block: Block, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(block.text)
    run(tmp_path, "program.py")


@pytest.mark.slow
def test_in_a_project_that_only_installed_it(tmp_path: Path) -> None:
    """The test of README in an empty environment, from a wheel, alone and with four workers."""
    environment, wheels = tmp_path / "venv", tmp_path / "wheels"
    run(tmp_path, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT))
    run(tmp_path, "-m", "venv", str(environment))
    python = environment / "bin" / "python"
    [wheel] = wheels.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "-q", wheel, "pytest", "pytest-xdist"], check=True)
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_reset.py").write_text(FIRST.text)
    for options in ([], ["-n", "4"]):
        done = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert [path.name for path in project.iterdir() if path.name != "__pycache__"] == ["test_reset.py"]
