"""The engine of the account store for a disk: an SQLite database, durable at every commit.

``schema`` has the tables, ``engine`` opens the database, ``verify`` looks for damage. The statements are in
the package ``sql`` beside this one.
"""
