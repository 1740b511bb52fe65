"""Backups of the data directory, which are made while the server runs, and their restoration.

``copying`` makes a backup, in a folder (``folder``, ``generations``) or as a stream (``stream``).
``manifest`` lists its files, ``verify`` reads them again, ``restore`` makes a data directory of them.

The promise: if a message was answered with 250 before the start of a backup, the backup has it, unless it was
removed in the meantime. If the removal of a message was answered with +OK before the start, a restored server
does not have the message. Whatever comes later may be in the backup or not.

A message has one or several of these places, and leaves one only after it has reached the next:

    Q   a row in the spool, of a recipient that waits        S   a file in tmp/ of a mailbox, for a row in E
    E   a row in the spool, of a copy that is not synced     M   a file in new/ or cur/ of a mailbox
    C   a file of the spool, with the content of a row in Q  A   a file in the mailbox quarantine@

    event                                     from      to          order, in ``queue`` and ``commands``
    message accepted                          -         E or Q, M   250 when the rows are there
    copy synced                               E         M           the row goes after the sync, then S
    attempt for a mailbox here                Q         E, M        one commit; then C goes
    attempt for another server, removal       Q         -           the row goes, then C
    release from the quarantine               A         Q or E, M   the new rows, then the file in A goes
    removal by POP3, by age, from quarantine  M, A      -           waits until the row in E is gone
    rename by another program                 M         M           at any time

The places are therefore copied in the direction of the flow, which the quarantine makes a circle:

    step  copied        missed by this step                             found in
    1     A             released before: its rows are there             2
    2     Q, E, C, S    became a file before: synced, in its mailbox    3
          as one state  arrived later: not promised
    3     A again, M    renamed within a mailbox meanwhile              3, repeated until nothing is new
                        in a mailbox that got another name meanwhile    3, mailboxes are listed again
                        moved to another mailbox meanwhile              4
    4     M, changed    moved twice, both times from a mailbox that     -
          since 1       is not yet listed to one that is

Nothing that was removed before the start is at any place, so no step finds it: a removal ends only after the
row in E is gone, and before that the file in M is. A message that is removed after step 2 can come back from
its row in E or Q, and one that moves on from Q to M can be there twice after the restoration; neither is
against the promise. Step 2 is one state because a read transaction keeps the rows, C is kept until it is
copied, and the links to S are made in the thread that commits.

Each worker has a spool of its own. A message stays in the spool that has accepted it until it reaches its
mailboxes, so step 2 may copy one spool after the other, each as one state.

Two gaps remain: the last line of the table, which needs another program that moves a message twice, and a
message of A whose files in A and then in M are both invisible for long because of errors of the disk.

A crash, or the end of the process, at any moment of a backup leaves the data as it is, and an incomplete
folder, from which the next backup takes what is whole.
"""
