"""The sending side of SMTP (RFC 5321) and LMTP (RFC 2033) without sockets: the mirror of the receiver."""
