"""The PostgreSQL engine of the spool: rows and contents of waiting messages in a database.

Queries are in the package ``sql`` beside this one, and the tables in the room ``postgresql``.
"""
