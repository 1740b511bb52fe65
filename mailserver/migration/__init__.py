"""Moves mailboxes: sources of messages, and the transfer into a Maildir or an mbox, verified by hashes.

A source lists messages and reads them; ``maildir``, ``dovecot`` and ``mbox`` are sources. ``transfer`` copies
the messages of a source into a target: :class:`~mailserver.store.intake.MaildirIntake`, or a new mbox
(``mbox_export``). It changes no source, and may be repeated after an interruption.
"""
