"""Takes messages in and sees them delivered: 250 means on disk and in the mailbox.

A message goes through these steps; the spool's writer takes all that wait through them as one group.

    1  stage        a file in tmp/ of a mailbox, not synced; mailboxes that are missing are made.
                    A copy over 64 KiB is synced here, with its folder, and called the row's source
    2  commit       one transaction of the spool (SQLite, WAL, synchronous=FULL): one sync for the group.
                    A row has the envelope, each copy's name and checksum and its mailboxes, who must
                    wait, and the content, unless every copy has a source
    3  publish      the file gets its name in new/ of every mailbox: a link for each, a rename for the last
    4  answer       250. A POP3 login from now on sees the message
    5  checkpoint   about a second later: one sync for all files and folders since the last one
    6  retire       the rows are deleted, then the sources

Before step 2 a failure takes everything back and is a 4xx. From step 2 on the message is taken: where
step 3 fails the checkpoint makes up for it. After a failed sync in step 5 nothing is synced again: the
copies are written anew from the spool, now and in each round until a sync of what is new succeeds. A start
does the same with all rows, since a file that reads well need not be on the disk. Removal by POP3 of a
message before step 6 waits for a checkpoint; so what a session has removed has no row that could bring it
back.

A crash may come anywhere. What the start then finds of a copy in one mailbox, and does (``recovery``,
``store.restore``); the result is synced as in step 5, then retired as in step 6:

    row     tmp/              new/ or cur/           the crash was      what is done
    none    a file or none    nothing                before 2           nothing; tmp/ is swept after 36 hours
    none    -                 the message            after 6            nothing
    there   a file or none    nothing                in 2 to 5          written from the row or the source
    there   -                 whole: size, checksum  in 3 to 6          written anew in its place, flags kept
    there   -                 other octets           in 3 to 5, torn    set aside in damaged/, written again
    there   -                 whole, in some boxes   in 3 to 6          anew there, and put into the others
    torn    any               any                    in 2               SQLite drops the row: as none
    there, but a value makes no sense, or a name leads elsewhere        set aside in damaged/, with its reason
    there, but a recipient that waits makes no sense                    that one set aside, with the message
    no database any more, or an empty one                               set aside in damaged/, a new one made

Every row of the table ends where it would have ended without the crash, and doing it twice changes
nothing: a row goes only after all its mailboxes are synced. A row whose mailbox cannot be written at the
start stays, and the checkpoint goes on trying; only if a torn file can be seen, and not be set aside, the
server does not start. A message is in a mailbox twice only if the crash came
between 2 and 4, so that the sender had no answer and sent it again.

Who waits (``runner``): a recipient whose mailbox is full, behind a list or beside others, is a row of its
own in the same commit. Each attempt is a commit, too: what it delivers becomes a new row and goes through
the steps above, and the waiting row goes in the same transaction. At the end of the schedule the report
takes its place in one transaction.

One gap is left to other programs: a message that one of *them* removes within the second before step 6,
and a crash within that second, bring it back.
"""
