"""Mailbox engines: ``maildir`` for real mail, ``memory`` for fixtures.

A spool delivers messages in steps (``IMailboxWriter``: stage, publish, sync). Maildrops show, read and
remove them (``IMaildrop``); views show and read them without a lock (``IMailboxView``). ``queue`` puts
the steps of a delivery together and describes what a crash leaves. A removal unlinks the files and syncs
the folders before the session gets its answer.
"""
