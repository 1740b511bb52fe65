"""The engine of the account store for a disk: an SQLite database, durable at every commit.

All SQL about accounts is here. ``schema`` has the tables, ``rows`` reads values from them, ``engine`` opens
the database and changes it, ``verify`` looks for damage.
"""
