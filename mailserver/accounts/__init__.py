"""Accounts: their passwords, the checkers of twisted.cred, and the account store with its engines."""
