"""A client of mail filters that speak the milter protocol, version 6, as Sendmail and Postfix are.

The protocol has no RFC. Its reference is libmilter of Sendmail; Postfix describes what a mail server sends.

    packets     the form of packets on the connection                                     (no I/O)
    options     what both sides can do, and what the filter wants to see                  (no I/O)
    commands    the packets that a mail server sends                                      (no I/O)
    replies     the packets that a filter sends                                           (no I/O)
    fields      the header that a filter sees, and its changes                            (no I/O)
    session     one filter during one session of a client
    check       the filters of a listener as a check of the reception

A filter sees the client, HELO, MAIL and each accepted RCPT when they come, and the message at its end. It may
add, change and remove header fields, reject, defer, drop and quarantine. It is not offered to change the
body, the recipients or the reverse-path.
"""
