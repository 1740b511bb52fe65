"""Measures the speed of the server, and of Postfix and Dovecot if they are installed: ``python -m bench``.

Each server is started like in production, in its own folder, and gets the same work from the same load
generators: Postfix's ``smtp-source`` sends mail, and ``bench.pop3load`` fetches it. Afterwards the mailboxes
must have each message exactly once, or the run fails. Clients measure the server from outside;
``bench.filling`` makes large mailboxes and queues by the code of the server.
"""
