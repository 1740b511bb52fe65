"""The first moment of a process: threads share heaps, closed streams are opened, no garbage is collected."""

import subprocess
import sys

import pytest

# Each thread takes memory from a heap and keeps it, while the others do the same.
HEAPS = """
import ctypes, threading
from mailserver.app.early import HEAPS, prepare

prepare()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(16)
found = set()

def take():
    together.wait()
    found.add(libc.malloc(1000) >> 26)  # a heap of a thread begins at a multiple of 64 MiB
    together.wait()

threads = [threading.Thread(target=take) for _ in range(16)]
[each.start() for each in threads]
[each.join() for each in threads]
assert len(found) <= HEAPS + 1, found  # the first heap may begin anywhere
"""
STREAMS = """
import os, sys
for number in range(3):
    os.close(number)
sys.stdin = sys.stdout = sys.stderr = None
from mailserver.app.early import prepare
prepare()
assert [each.fileno() for each in (sys.stdin, sys.stdout, sys.stderr)] == [0, 1, 2]
"""
GARBAGE = """
import gc
from mailserver.app.early import prepare

prepare()
assert not gc.isenabled()
from mailserver.app.process import freeze_start

freeze_start()
assert gc.isenabled() and gc.get_freeze_count() > 1000
"""


@pytest.mark.parametrize("program", [HEAPS, STREAMS, GARBAGE], ids=["heaps", "streams", "garbage"])
def test_early(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
