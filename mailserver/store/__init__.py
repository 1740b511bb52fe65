"""Mailbox engines: ``maildir`` for real mail, ``memory`` for fixtures.

A spool delivers messages in steps (``IMailboxWriter``: stage, publish, sync). Maildrops list, read and
remove them (``IMaildrop``); views list and read them without a lock (``IMailboxView``). ``queue`` combines
the steps of a delivery and describes the effects of a crash. A removal unlinks the files and syncs the
folders before the client gets its reply.
"""
