"""A mail server on Twisted: SMTP and POP3 from one shared mailbox store."""

__version__ = "0.1.0"
