"""DNS: a stub resolver (RFC 1035) with a cache, and the hosts that receive the mail of a domain."""
