"""The ``postgresql`` engine: mailboxes in a database.

``writer`` delivers messages, in the transaction that the spool commits, ``store`` locks and lists mailboxes,
``maildrop`` reads and removes messages, ``rows`` has the statements that several of them need.
"""
