"""The examples of other languages run as they are; those for containers are checked for their syntax."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.e2e.programs import missing, need, need_node_modules, run
from tests.support.e2e.server import ROOT

EXAMPLES = ROOT / "examples" / "fixture"
JAVA = ("jakarta-mail.jar", "jakarta-activation.jar")
JAVA_FOLDER = Path("/usr/share/java")
PHPMAILER = Path("/usr/share/php/libphp-phpmailer/autoload.php")
CONTAINERS = EXAMPLES / "container"


def no_environment() -> dict[str, str]:
    return {}


def pure_go() -> dict[str, str]:
    return {"CGO_ENABLED": "0"}  # there may be no C compiler


def minitest() -> dict[str, str]:
    if run(Path("/"), need("ruby"), "-e", 'require "minitest"', status=None).returncode:
        missing("Ruby has no minitest (Debian package ruby-minitest)")
    return {}


def phpmailer() -> dict[str, str]:
    if not PHPMAILER.exists():
        missing("PHP has no PHPMailer (Debian package libphp-phpmailer)")
    return {"PHPMAILER": str(PHPMAILER)}


def jakarta_mail() -> dict[str, str]:
    if not all((JAVA_FOLDER / jar).exists() for jar in JAVA):
        missing("Java has no Jakarta Mail (Debian packages libjakarta-mail-java, libjakarta-activation-java)")
    return {"CLASSPATH": ":".join(str(JAVA_FOLDER / jar) for jar in JAVA)}


def run_example(
    tmp_path: Path, name: str, command: list[str], environment: Callable[[], dict[str, str]]
) -> None:
    work = tmp_path / name
    shutil.copytree(EXAMPLES / name, work)
    bin = tmp_path / "bin"
    bin.mkdir()
    program = bin / "mailserver"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m mailserver "$@"\n')
    program.chmod(0o755)
    path = {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    run(work, need(command[0]), *command[1:], env={**environment(), **path})


@pytest.mark.parametrize(
    "name,command,environment",
    [
        ("node", ["node", "--test"], lambda: need_node_modules("nodemailer")),
        ("ruby", ["ruby", "reset_test.rb"], minitest),
        ("php", ["php", "reset_test.php"], phpmailer),
        ("python", ["python3", "-m", "unittest"], no_environment),
        ("shell", ["sh", "reset_test.sh"], no_environment),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_example(
    tmp_path: Path, name: str, command: list[str], environment: Callable[[], dict[str, str]]
) -> None:
    run_example(tmp_path, name, command, environment)


# Their compilers take long.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name,command,environment",
    [
        ("java", ["java", "ResetTest.java"], jakarta_mail),
        ("go", ["go", "test"], pure_go),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_compiled_example(
    tmp_path: Path, name: str, command: list[str], environment: Callable[[], dict[str, str]]
) -> None:
    run_example(tmp_path, name, command, environment)


def test_syntax_of_the_modules_for_containers(tmp_path: Path) -> None:
    python = CONTAINERS / "mailserver_container.py"
    compile(python.read_text(), python, "exec")
    run(tmp_path, need("node"), "--check", CONTAINERS / "mailserver-container.js")


def test_the_image_and_its_modules_have_the_same_ports() -> None:
    recipe = (CONTAINERS / "Containerfile").read_text()
    exposed = re.search(r"^EXPOSE (.*)$", recipe, re.M)
    assert exposed is not None
    assert re.findall(r'-?port", "(\d+)"', recipe) == exposed[1].split()
    for name in ("mailserver_container.py", "mailserver-container.js"):
        ports = re.findall(r"\b\d{4}\b", (CONTAINERS / name).read_text().partition("POP3 ")[0] + "1110")
        assert set(ports) <= set(exposed[1].split())


def test_examples_are_short() -> None:
    for file in EXAMPLES.rglob("*.*"):
        if file.is_file() and file.name != "README.md":
            assert len(file.read_text().splitlines()) <= 40, file
