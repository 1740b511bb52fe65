"""Mailbox engines: ``maildir`` for real mail, ``memory`` for fixtures.

Messages come in by the steps that a spool needs (``IMailboxWriter``: staged, published, synced); they
are seen, read and removed through maildrops (``IMaildrop``). When a delivery is safe, and what a crash
leaves behind, is told where the steps are put together: in ``queue``. Removal: files unlinked, folders
synced, then the session is told.
"""
