"""A server that looks at the files of its certificates every moment, instead of every ten seconds."""

import sys

from tests.support.e2e.server import ROOT, launch_python

HURRY = 0.1  # seconds between two looks
ALONE = "only the process that the test starts is in a hurry"
HURRIED = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from mailserver.net import certificates
certificates.INTERVAL = {HURRY}
runpy.run_module("twisted", run_name="__main__", alter_sys=True)
"""


def launch_hurried(*options: str) -> list[str]:
    """The command of such a server."""
    return [sys.executable, "-c", HURRIED, *launch_python(*options)[3:]]
