"""Memory that was needed for a while is given back; nothing is done where there is little."""

import subprocess
import sys

import pytest

from mailserver.app.memory import LEAST, MemoryUse

MIB = 1 << 20
PROGRAM = """
import sys
from mailserver.app.memory import MemoryTrimmer, MemoryUse
from tests.support.reactor import FakeReactor

def resident():
    return MemoryUse.now().resident / 2**20

memory = MemoryTrimmer(FakeReactor())
memory.look()
before = resident()
for _ in range(2):
    pieces = [bytes(3000) for _ in range(20_000)]
    kept = pieces[::100]
    del pieces
    assert resident() - before > 30, "nothing is to be given back"
    memory.look()
    assert resident() - before < 10, (before, resident())
"""

CYCLES = """
import gc
from mailserver.app.memory import MemoryTrimmer, MemoryUse
from tests.support.reactor import FakeReactor

gc.collect()
gc.disable()
memory = MemoryTrimmer(FakeReactor())
for _ in range(3):
    memory.look()
before = MemoryUse.now().resident
for _ in range(3):
    for _ in range(500):
        cycle = [bytes(30_000)]
        cycle.append(cycle)
    del cycle
    assert MemoryUse.now().resident - before > 12 << 20, "nothing to return"
    memory.look()
    memory.look()
    assert MemoryUse.now().resident - before < 3 << 20, (before, MemoryUse.now().resident)
"""


@pytest.mark.parametrize("program", [PROGRAM, CYCLES])
def test_memory_is_returned_after_a_peak(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("resident", "free", "much"),
    [
        (64, 8, False),
        (64 + LEAST // MIB, 8, False),
        (64 + LEAST // MIB + 1, 8, True),
        (64, 8 + LEAST // MIB, False),
        (64, 8 + LEAST // MIB + 1, True),
        (32, 4, False),
        (1024, 60, True),
        (64, 60, True),
    ],
)
def test_what_is_much(resident: int, free: int, much: bool) -> None:
    now = MemoryUse(resident * MIB, free * MIB)
    assert now.is_much_more(MemoryUse(64 * MIB, 8 * MIB)) is much


def test_the_more_is_in_use_the_more_is_much() -> None:
    last = MemoryUse(1000 * MIB, 100 * MIB)
    assert not MemoryUse(1050 * MIB, 150 * MIB).is_much_more(last)
    assert MemoryUse(1100 * MIB, 150 * MIB).is_much_more(last)
