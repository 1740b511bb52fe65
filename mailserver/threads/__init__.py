"""Runs work in threads that would block the reactor."""
