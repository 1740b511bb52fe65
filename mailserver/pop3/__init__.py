"""POP3 without sockets: bytes in, events and replies out (RFC 1939)."""
