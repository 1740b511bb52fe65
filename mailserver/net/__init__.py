"""Twisted glue: sessions on transports, listeners, graceful ends."""
