"""Where real messages come from: files of others, which are read where they are and never copied.

CPython's own email tests have some (Debian keeps them in a package apart); ``MAIL_CORPUS`` names a folder
of more, in which every file is a message; ``.ci/run`` fills one from source distributions.
"""

import os
import re
import sys
from importlib import resources
from pathlib import Path

_LF = re.compile(rb"(?<!\r)\n")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

NO_CPYTHON = (
    "this interpreter comes without test.test_email and its messages "
    f"(Debian package libpython{VERSION}-testsuite)"
)
NO_FOLDER = (
    "MAIL_CORPUS names no folder with messages in it (mails of the mail-parser and flufl.bounce "
    "source distributions, for example)"
)


def cpython() -> dict[str, bytes]:
    """CPython's messages as the files have them; none where they are not installed."""
    try:
        data = resources.files("test.test_email") / "data"
    except ModuleNotFoundError:
        return {}
    return {file.name: file.read_bytes() for file in data.iterdir() if file.name.endswith(".txt")}


def folder() -> dict[str, bytes]:
    """What is in the folder that MAIL_CORPUS names; nothing without it."""
    name = os.environ.get("MAIL_CORPUS", "")
    if not name:
        return {}
    root = Path(name)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def as_sent(octets: bytes) -> bytes:
    """What a client makes of a file before it sends it: each LF alone is a CRLF."""
    return _LF.sub(b"\r\n", octets)
