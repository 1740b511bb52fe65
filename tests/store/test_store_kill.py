"""A server that is killed while it delivers has every message that it has answered."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mailserver
from mailserver.durable.disk import Disk
from mailserver.store.maildir import MaildirStore
from tests.durable.faults import FaultyCalls
from tests.store.messages import ALICE, look

TEXT = b"Subject: %d\r\n\r\n" + b"x" * 5000 + b"\r\nend of %d\r\n"

# Eight deliveries are always under way; each prints its number when it has fired.
DELIVER = f"""
import sys
from pathlib import Path
from twisted.internet import reactor
from zope.interface import implementer
from mailserver.durable.disk import Disk
from mailserver.interfaces import Delivery, IContent
from mailserver.mail.address import Address
from mailserver.store.maildir import MaildirStore

@implementer(IContent)
class Content:
    def __init__(self, number):
        self.data = {TEXT!r} % (number, number)
        self.size = len(self.data)
    def chunks(self):
        yield self.data[:3000]
        yield self.data[3000:]

def deliver(number):
    deferred = store.deliver(Content(number), [Delivery(Address("alice", "example.org"), b"")])
    deferred.addCallback(lambda _: print(number, flush=True))
    deferred.addCallback(lambda _: deliver(number + 8))

store = MaildirStore(Path(sys.argv[1]), "host", Disk(), reactor)
store.open()
reactor.callWhenRunning(lambda: [deliver(number) for number in range(8)])
reactor.run()
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill(tmp_path, reactor, seed):
    process = subprocess.Popen(
        [sys.executable, "-c", DELIVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(mailserver.__file__).parents[1],
    )
    try:
        first = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 0.2))
    finally:
        process.kill()
        rest, _ = process.communicate()
    # A line may have been cut by the kill; its message counts only if it was printed whole.
    answered = {int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")}
    assert answered

    store = MaildirStore(tmp_path, "host", Disk(FaultyCalls()), reactor)
    store.open()
    found = look(reactor.wait, store, ALICE)
    reactor.wait(store.close())
    assert len(set(found)) == len(found)
    assert {TEXT % (number, number) for number in answered} <= set(found)
    # What was not answered may be there as well, but whole.
    numbers = {int(data.split(b"\r\n")[0].split()[1]) for data in found}
    assert set(found) == {TEXT % (number, number) for number in numbers}
