"""The DNS records that a mail domain should have, and their comparison with those that it has.

``setup`` has what is known of the domain and of this server, ``wanted`` makes the records from it, ``hosts``
and ``texts`` compare them with the answers of DNS, and ``zone_file`` writes them. Nothing here asks DNS:
``lookups`` does.
"""
