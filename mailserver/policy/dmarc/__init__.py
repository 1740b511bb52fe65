"""DMARC: whether the domain in From is that of a valid DKIM signature or of SPF (RFC 9989).

It replaces RFC 7489: the organization of a domain is found in DNS and not in a list of public suffixes, and
the tags ``pct``, ``rf`` and ``ri`` have no effect.
"""
