"""A library for configurations: kinds of values, tables of keys, and the texts of errors.

It knows what a mail server's values look like (``mail_kinds``), but not which keys there are.
"""
