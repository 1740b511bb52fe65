"""Bytes as they travel: command lines and dot-transparent text."""
