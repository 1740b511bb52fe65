"""The SQLite engine of the spool: rows in a database, contents of waiting messages in files beside it.

All SQL of the spool is in this package. ``schema`` has the tables and converts those of older versions.
``rows`` converts rows to values, ``contents`` stores the files, ``engine`` combines them, and ``verify``
looks for damage.
"""
