"""How fast the server is, beside Postfix and Dovecot where they are installed: ``python -m bench``.

Each server is started as its users start it, in a folder of its own, and gets the same work from the same
load generators: Postfix's ``smtp-source`` for mail that comes in, and ``bench.pop3load`` for mail that is
fetched. What was sent must be in the mailboxes afterwards, each message once, or the run fails. Nothing here
imports the server: what is measured is what a client sees from outside.
"""
