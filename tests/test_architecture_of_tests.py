"""Who may import whom among the tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
TEST_FILES = sorted(TESTS.rglob("*.py"))
TOOLS = {"crash", "fuzz", "soak"}  # programs of their own, with a short form as a test


def test_tests_import_only_helpers() -> None:
    """Helpers are in tests/support; a module of tests or fixtures is imported by pytest alone."""
    for path in TEST_FILES:
        room = path.relative_to(TESTS).parts[0]
        is_run_by_pytest = path.name.startswith("test_") or path.name in ("conftest.py", "__init__.py")
        assert is_run_by_pytest or room in {"support", *TOOLS}, f"{path} is a helper outside tests/support"
        # By the text of the lines: to parse all tests takes seconds.
        for name in re.findall(r"^ *(?:from|import) +([.\w]+)", path.read_text(), re.M):
            assert not name.startswith("."), f"{path}: relative imports hide where things come from"
            if name.startswith("tests."):
                _, target, *rest = name.split(".")
                assert target == "support" or target == room in TOOLS, f"{path} imports {name}"
                assert not any(part.startswith("test_") for part in rest), f"{path} imports {name}"
