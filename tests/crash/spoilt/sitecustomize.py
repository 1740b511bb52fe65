"""Spoils the workers of a server, for the controls of ``tests.crash.workers``, and servers that share a
database, for that of ``tests.crash.nodes``. Python imports it by its name."""

import os
import sys

if "mailserver.app.workers" in sys.orig_argv:
    from twisted.internet.defer import succeed

    from mailserver.cluster.conversation import Conversation
    from mailserver.durable.lock import NameLocks
    from mailserver.queue.removal import SYNCED

    asked = Conversation.ask_others

    def ask_others(self, subject, value=None):
        return succeed([]) if subject == SYNCED else asked(self, subject, value)

    if os.environ.get("SPOILT") == "synced":
        Conversation.ask_others = ask_others
    elif os.environ.get("SPOILT") == "locks":
        NameLocks.acquire = lambda self, name: True

if "mailserver" in sys.orig_argv and os.environ.get("SPOILT") == "fence":
    from mailserver.store.postgresql import maildrop

    vars(maildrop)["holds"] = lambda connection, name, fence: True
