"""DKIM: signatures of domains in the header of a message (RFC 6376, RFC 8301, RFC 8463, RFC 8616).

:mod:`~mailserver.policy.dkim.verifier` checks signatures, :mod:`~mailserver.policy.dkim.signer` makes them.
Both take the header as octets and the body in chunks, and neither does I/O.
"""
