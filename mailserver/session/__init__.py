"""What all line-based sessions share, without sockets, clocks or files.

A protocol has a verb table (``verbs``), which has everything about each command, and a class derived from
:class:`~mailserver.session.core.LineSession` with the handlers that the table names. The session runs the
table: it reads lines, looks up the verb and the state, queues replies, and waits for the answers to its
requests.

LMTP (RFC 2033) fits as one more table for the handlers of SMTP. LHLO takes the place of HELO and EHLO. The
row for the end of the text has another handler: the answer to ``MessageEnded`` is a tuple with one verdict
for each recipient, and the handler returns their replies, joined. DATA without recipients is a 503, as the
table says already.
"""
