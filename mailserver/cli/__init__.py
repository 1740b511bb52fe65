"""The ``mailserver`` command, for the people who run a server."""
