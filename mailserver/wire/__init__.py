"""Framing of the octets on a connection: command lines, dot-transparent text, PROXY headers."""
