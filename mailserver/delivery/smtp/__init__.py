"""Delivery to other servers by SMTP and LMTP."""
