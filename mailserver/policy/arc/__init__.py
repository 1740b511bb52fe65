"""ARC: what forwarders have seen of a message before they changed it (RFC 8617).

Chains are verified, so that the word of a trusted forwarder can count. This server seals nothing.
"""
