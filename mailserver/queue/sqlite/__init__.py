"""The SQLite engine of the spool: rows in a database, contents of waiting messages in files beside it.

``schema`` has the tables and converts those of older versions, ``contents`` stores the files, ``engine``
combines them, and ``verify`` looks for damage. Queries are in the package ``sql`` beside this one.
"""
