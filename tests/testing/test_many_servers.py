"""Many servers in one process: nothing is printed, and what has ended is not kept."""

import subprocess
import sys

PROGRAM = """
import gc
import smtplib

from mailserver.testing import MailServer
from mailserver.testing.instance import Instance


def alive():
    gc.collect()
    return sum(isinstance(each, Instance) for each in gc.get_objects())


counts = []
for number in range(61):
    with MailServer() as server:
        with smtplib.SMTP(server.smtp.host, server.smtp.port) as smtp:
            smtp.sendmail("a@example.test", ["bob@example.test"], "Subject: x\\r\\n\\r\\nx\\r\\n")
        server.wait_for(to="bob@example.test")
    del server
    if number % 20 == 0:
        counts.append(alive())
print(counts)
"""


def test_servers_that_have_ended() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    first, *later = map(int, done.stdout.strip("[]\n").split(", "))
    assert max(later) <= first + 1, done.stdout
