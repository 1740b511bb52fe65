"""A filter on libmilter, the reference of the protocol: ``python3 milter_filter.py SOCKET``, with pymilter.

The sender decides what it does; see ``envfrom`` and ``eom``. In X-Seen it writes what it has seen.
"""

import hashlib
import json
import sys

import Milter  # type: ignore[import-not-found]


class Filter(Milter.Base):  # type: ignore[misc]
    def __init__(self):
        self.seen = {}

    def connect(self, hostname, family, hostaddr):
        self.seen = {"client": hostname, "address": hostaddr[0], "j": self.getsymval("j")}
        return Milter.CONTINUE

    def hello(self, name):
        self.seen["helo"] = name
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.sender = sender
        self.digest = hashlib.sha256()
        self.seen |= {"mail": [sender, *parameters], "rcpt": [], "fields": [], "size": 0}
        self.seen["id"] = self.getsymval("i")
        if sender == "<reject-at-mail@far.example>":
            self.setreply("554", "5.7.9", "not from you, 100%% sure")
            return Milter.REJECT
        return Milter.CONTINUE

    def envrcpt(self, recipient, *parameters):
        if recipient.startswith("<bob"):
            return Milter.TEMPFAIL
        self.seen["rcpt"].append([recipient, *parameters])
        return Milter.CONTINUE

    def header(self, name, value):
        self.seen["fields"].append([name, value])
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    def body(self, chunk):
        self.digest.update(chunk)
        self.seen["size"] += len(chunk)
        return Milter.CONTINUE

    def eom(self):
        kind = self.sender[1:].partition("@")[0]
        if kind == "reject":
            self.setreply("550", "5.7.1", "first line", "second line")
            return Milter.REJECT
        if kind == "later":
            self.setreply("452", "4.3.1", "no room for that")
            return Milter.TEMPFAIL
        if kind == "leave":
            self.setreply("421", "4.3.2", "going home")
            return Milter.TEMPFAIL
        if kind == "drop":
            return Milter.DISCARD
        if kind == "aside":
            self.quarantine("looks like a virus")
        if kind == "slow":
            self.progress()
        self.seen["sha256"] = self.digest.hexdigest()
        self.chgheader("Subject", 1, "changed")
        self.chgheader("X-Twice", 2, "")
        self.addheader("X-Below", "below the trace", 1)
        self.addheader("X-Top", "above all", 0)
        self.addheader("X-Seen", json.dumps(self.seen).replace(", ", ",\n\t"))
        return Milter.ACCEPT


Milter.factory = Filter
Milter.set_flags(Milter.ADDHDRS + Milter.CHGHDRS + Milter.QUARANTINE)
Milter.runmilter("mailserver-test", sys.argv[1], 60)
