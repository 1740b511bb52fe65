"""What all line-based sessions share, without sockets, clocks or files.

A protocol has two parts: a verb table (see ``verbs``), which describes each command completely, and a
subclass of :class:`~mailserver.session.core.LineSession` with the handlers that the table names. The session
runs the table: it reads lines, looks up the verb and the state, queues replies, and waits for the answers to
its requests.

LMTP (RFC 2033) is one more table for the handlers of SMTP: see ``smtp.lmtp``.
"""
