"""TLS policies that other domains publish, beside those of the configuration.

sts_policy, sts_fetch, sts_store, sts    MTA-STS (RFC 8461)
tlsa, dane                               DANE for SMTP (RFC 7672)
policy                                   the requirement for one host, from all of them
results, report, reporter                reports about TLS to the domains (TLS-RPT, RFC 8460)
"""
