"""End to end: a server process of its own, real clients, and the octets that come out again."""
