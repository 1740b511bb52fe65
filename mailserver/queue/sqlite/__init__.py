"""The spool's engine for a disk: rows in an SQLite database, contents of what waits in files beside it.

All SQL of the spool stands here. ``schema`` has the tables and brings older ones into their form, ``rows``
makes values of rows, ``contents`` keeps the files, ``engine`` joins them, ``verify`` looks for damage.
"""
