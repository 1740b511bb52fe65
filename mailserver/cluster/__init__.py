"""What the processes of one server agree on: questions between them, locks of mailboxes, counters of limits.

``interfaces`` has the contracts. A server with one process needs none of the rest: ``alone`` answers at once.
"""
