"""The spool and the queue: accepts messages and delivers them. A 250 means on disk and in the mailbox.

``spool`` is the entry point. ``writer`` commits, ``checkpoint`` syncs published copies, ``runner`` retries
waiting messages. An engine (see ``interfaces``) stores the messages: ``sqlite`` on a disk, or ``memory``.

A message passes these steps. The writer of the spool takes all pending messages through them as a group.

    1  stage        write a file in tmp/ of a mailbox, not synced. Missing mailboxes are created. A copy over
                    64 KiB is synced here, with its folder, and becomes the source of the copy
    2  content      only if recipients must wait for an attempt that is not due yet, or if it is over 64 KiB
                    and has recipients on other servers: write the content to a file of the spool, synced;
                    the folder is synced once for the group
    3  commit       one transaction of the spool (SQLite, WAL, synchronous=FULL): one sync for the group.
                    An entry has the envelope; the name, the checksum and the mailboxes of each copy; and the
                    content, unless every copy has a source. Recipients that wait, and those on other
                    servers, have their own rows, with a queued message that has the content or refers to
                    the file of step 2
    4  publish      give the file its name in new/ of each mailbox: links, and a rename for the last one
    5  answer       250. A POP3 login from now on sees the message
    6  checkpoint   about a second later: one sync for all files and folders since the last one
    7  retire       delete the entries, then the sources

A failure before step 3 undoes everything; the reply is a 4xx. From step 3 on the message is accepted; if
step 4 fails, the checkpoint repeats it. A failed sync in step 6 is never repeated on the same files: the
copies are written again from the spool, in each round until a sync of the new files succeeds. A start does
the same with all entries, since a readable file need not be on the disk. If POP3 removes a message before
step 7, the removal waits for a checkpoint, so a removed message has no entry that could restore it.

A crash may happen at any time. The tables below show what the next start finds of a copy in one mailbox and
what it does (``recovery``, ``store.restore``). The result is synced as in step 6, then retired as in step 7:

    entry   tmp/              new/ or cur/           the crash was      action
    none    a file or none    nothing                before 3           none; tmp/ is swept after 36 hours
    none    -                 the message            after 7            none
    there   a file or none    nothing                in 3 to 6          write it from the entry or the source
    there   -                 whole: size, checksum  in 4 to 7          write it again in place, keep flags
    there   -                 other octets           in 4 to 6, torn    set aside in damaged/, write it again
    there   -                 whole, in some boxes   in 4 to 7          write it again there and in the others
    torn    any               any                    in 3               SQLite drops the entry: as none
    there, but with an invalid value or a name outside the mailbox      set aside in damaged/, with its reason
    no database, or an empty one                                        set aside in damaged/, with the
                                                                        contents, and create a new one

Each line ends in the state without a crash, and repeating it changes nothing: an entry is deleted only after
all its mailboxes are synced. An entry stays if its mailbox cannot be written at the start, and the
checkpoint retries it. The server does not start if a mailbox shows a torn file that cannot be set aside. A
message is in a mailbox twice only after a crash between 3 and 5, if the sender got no answer and sent the
message again.

A recipient waits (``runner``) if its mailbox is on another server, or if it is full and belongs to a member
of a list or to one of several recipients. The ``IDelivery`` for the destination makes each attempt, and one
commit records the outcomes. A crash after another server has accepted the message and before that commit
repeats the attempt, so a recipient there may get the message twice, and never loses it. The delivery to local
mailboxes (``delivery.local``) is a commit of its own: the copies become a new entry
and pass the steps above, and their recipients leave the queue in the same transaction. At the end of the
schedule one transaction replaces the recipients by the bounce (``reports``).

The content file of a waiting message, if it has one, and what a start does with it:

    queued  file                the crash was                           action
    none    none                before 2, or long after the end         none
    none    there               in 2 or 3, or after the last recipient  the sweep removes it, in a thread
                                left and before its file was removed    after the start
    there   whole               at any time from 3 on                   the message keeps waiting
    there   other, or missing   never: it is damage                     set aside in damaged/
    there, but with an invalid value                                    set aside, with the content
    there, but with an invalid recipient                                set aside that one, with the content

The file is removed after the commit that removes the last recipient. A commit that fails may be on the disk
nevertheless; its files stay until the next commit succeeds, which deletes the rows. Millions of messages may
wait, so a start reads the rows of the oldest thousand, and no contents of files; the others are examined when
they are tried.

With several workers (``shards``), each of them has a spool of its own, and all have the same mailboxes. Only
the spool of the first worker has messages that wait. Another worker accepts a message if all of its
recipients are mailboxes here with room, and forwards any other one to the first worker, as a whole and before
the answer. The steps and tables above hold for each spool. If a worker ends alone, its next process recovers
its spool while the others serve.

A removal asks all workers, since any of them may have the entry of a message that everybody sees. A worker
knows its copies before they are visible, and answers when they are synced; one that starts answers after its
recovery. Without all answers nothing is removed. A mailbox moves to another name when all workers have synced
what they have received for the old name.

What a crash leaves of a message that is forwarded. A large content is in a file in DATA/tmp meanwhile:

    the crash was of   before the commit of the first worker       after it
    the other worker   nothing; its next start removes the file    the message, whose sender had no answer
    the first worker   nothing; the sender gets 451                the message; the sender gets 451

A start of the first worker moves the entries of workers that do not exist any more to its own spool:

    their spool               own spool   the crash was            action
    entry                     none        before the commit        add it here, then delete it there
    entry                     the same    between the two commits  the same: both restore the same files
    none                      the entry   after both               recover it, and remove their folder
    a database, no marker     -           while it is removed      the same
    neither of them           -           while it is removed      remove the folder
    no readable database                                           set the folder aside in damaged/
    messages that wait        -           never                    leave them there, and report it

One gap remains: if another program removes a message within the second before step 7, and the machine
crashes within that second, the message comes back.
"""
