"""Takes messages in and sees them delivered: 250 means on disk and in the mailbox.

``spool`` is the front; ``writer`` commits, ``checkpoint`` syncs what was published, ``runner`` tries what
waits. What has been promised is kept by an engine (``interfaces``): ``sqlite`` on a disk, or ``memory``.

A message goes through these steps; the spool's writer takes all that wait through them as one group.

    1  stage        a file in tmp/ of a mailbox, not synced; mailboxes that are missing are made.
                    A copy over 64 KiB is synced here, with its folder, and called the entry's source
    2  content      only where recipients have to wait: the content in a file of the spool, synced, with its
                    folder once for the group
    3  commit       one transaction of the spool (SQLite, WAL, synchronous=FULL): one sync for the group.
                    An entry has the envelope, each copy's name and checksum and its mailboxes, and the
                    content, unless every copy has a source. Recipients that wait are rows of their own,
                    with a queued message that refers to the file of step 2
    4  publish      the file gets its name in new/ of every mailbox: a link for each, a rename for the last
    5  answer       250. A POP3 login from now on sees the message
    6  checkpoint   about a second later: one sync for all files and folders since the last one
    7  retire       the entries are deleted, then the sources

Before step 3 a failure takes everything back and is a 4xx. From step 3 on the message is taken: where
step 4 fails the checkpoint makes up for it. After a failed sync in step 6 nothing is synced again: the
copies are written anew from the spool, now and in each round until a sync of what is new succeeds. A start
does the same with all entries, since a file that reads well need not be on the disk. Removal by POP3 of a
message before step 7 waits for a checkpoint; so what a session has removed has no entry that could bring it
back.

A crash may come anywhere. What the start then finds of a copy in one mailbox, and does (``recovery``,
``store.restore``); the result is synced as in step 6, then retired as in step 7:

    entry   tmp/              new/ or cur/           the crash was      what is done
    none    a file or none    nothing                before 3           nothing; tmp/ is swept after 36 hours
    none    -                 the message            after 7            nothing
    there   a file or none    nothing                in 3 to 6          written from the entry or the source
    there   -                 whole: size, checksum  in 4 to 7          written anew in its place, flags kept
    there   -                 other octets           in 4 to 6, torn    set aside in damaged/, written again
    there   -                 whole, in some boxes   in 4 to 7          anew there, and put into the others
    torn    any               any                    in 3               SQLite drops the entry: as none
    there, but a value makes no sense, or a name leads elsewhere        set aside in damaged/, with its reason
    no database any more, or an empty one                               set aside in damaged/, with the
                                                                        contents, and a new one made

Every line of the table ends where it would have ended without the crash, and doing it twice changes
nothing: an entry goes only after all its mailboxes are synced. An entry whose mailbox cannot be written at
the start stays, and the checkpoint goes on trying; only if a torn file can be seen, and not be set aside,
the server does not start. A message is in a mailbox twice only if the crash came between 3 and 5, so that the
sender had no answer and sent it again.

A recipient waits (``runner``) if its mailbox is full, behind a list or beside others. Each attempt is made
by the ``IDelivery`` for the destination, and its outcomes are recorded in one commit. The delivery to
mailboxes here (``delivery.local``) is a commit of its own: what it delivers becomes a new entry and goes
through the steps above, and the recipients that have their copy leave in the same transaction. At the end of
the schedule the report takes the recipients' place in one transaction.

The content of what waits, and what a start makes of it:

    queued  file                the crash was                           what is done
    none    none                before 2, or long after the end         nothing
    none    there               in 2 or 3, or after the last recipient  removed by the sweep, in a thread
                                left and before its file was removed    after the start
    there   whole               at any time from 3 on                   the message waits on
    there   other, or missing   never: it is damage                     set aside in damaged/
    there, but a value makes no sense                                   the same, with the content
    there, but a recipient makes no sense                               that one is, with the content

The file is removed after the commit that takes its last recipient away. A commit that fails may be on the
disk all the same; the files that it refers to are kept until the next commit has succeeded, which takes the
rows back. There may be millions of messages that wait, so a start reads the rows of the thousand that are due
first, and no contents; the others are examined when they are tried.

One gap is left to other programs: a message that one of *them* removes within the second before step 7,
and a crash within that second, bring it back.
"""
