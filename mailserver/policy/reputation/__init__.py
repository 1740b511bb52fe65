"""What others know of a client: lists of addresses in DNS, its reverse DNS, the name that it gives.

Only strangers are judged: no client with a login, no local program, no client in an exempt network. A failure
of DNS never counts against a client.
"""
