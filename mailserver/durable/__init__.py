"""Durable changes of files, folders and SQLite databases. No other package changes the disk.

This package does not know messages. It raises ``OSError``; its callers convert it to the errors of the
domain.
"""
