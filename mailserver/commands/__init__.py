"""The commands of an administrator, as a running server or the ``mailserver`` command performs them."""
