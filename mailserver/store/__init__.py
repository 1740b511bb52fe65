"""Mailbox engines: ``maildir`` for real mail, ``memory`` for fixtures.

How the ``maildir`` engine keeps the promise that a delivery which has fired is durable and visible,
as the steps of one delivery (``delivery``) and what a crash after each leaves behind:

    step                                 tmp/     new/      after a crash
    1 folders made, parents synced       -        -         nothing of the message
    2 files written                      partial  -         a file in tmp/, removed when 36 hours old
    3 files synced                       whole    -         the same
    4 files renamed                      -        whole     in new/ or in tmp/, whole; not answered yet:
                                                            the sender may repeat it, a duplicate
    5 folders synced, delivery fires     -        safe      in new/

A failure in steps 1 to 3 removes the temporary files, one in steps 4 and 5 also what is in new/
already; the delivery then fails as a whole. Removal by a session: files unlinked, folders synced,
then the session is told.
"""
