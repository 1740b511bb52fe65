"""Where mail comes in: one transaction at a time, whoever brings it, judged by checks in a fixed order.

SMTP, submission and anything else that accepts mail uses this room; it knows no protocol and no transport.
A :class:`~mailserver.reception.transaction.Transaction` exists from MAIL on. Checks look at it at these
stages, and the first that defers or refuses decides:

    mail        a reverse-path is given
    recipient   a recipient is given; the router has not been asked about it
    routed      the router has said which mailboxes the recipient leads to
    lookup      a client asks about a name without sending mail (VRFY, EXPN)

A check is an object that provides the interface of its stage, or of several, in
:mod:`~mailserver.reception.checks`; :mod:`mailserver.app.build` lists the checks in their order. Stages that
no check needs yet are not called. Their places: *connect* and *helo*, with a
:class:`~mailserver.reception.transaction.Client`, before there is a transaction; *header complete* in
``MailReceiver.write``; *end of data* in ``MailReceiver.finish``, before the message is committed.
"""
