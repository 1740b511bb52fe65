"""SASL mechanisms (RFC 4422) as generators, without sockets, clocks or files."""
