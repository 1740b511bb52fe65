"""SMTP without sockets: bytes in, events and replies out (RFC 5321)."""
