"""The reception of mail: transactions, and the checks that accept, defer or reject them.

SMTP, submission and every other protocol that brings mail use this package. It knows no protocol and no
transport. A :class:`~mailserver.reception.transaction.Transaction` exists from MAIL on. Checks run at these
stages, in a fixed order. The first check that defers or rejects decides:

    connect     the client is known: its address, TLS, account; asked at its first MAIL
    helo        the client has given its name; asked at its first MAIL after that
    mail        MAIL: the reverse-path is known
    recipient   RCPT: the recipient is known, but not yet routed
    routed      the router has found the mailboxes of the recipient
    header      the whole message has arrived; its header is checked first
    message     the whole message has arrived and is not yet stored
    lookup      VRFY or EXPN: a client looks up a name without sending mail

An examiner follows a message from MAIL to its end, and sees its content while it arrives. Its verdicts come
after those of the checks at the stages "recipient" and "message".

A check is an object that provides the interface of one or more stages, in
:mod:`~mailserver.reception.checks`; :mod:`mailserver.app.build` lists the checks in their order. A verdict
that accepts may carry header fields; they are written once, in front of the message.
"""
