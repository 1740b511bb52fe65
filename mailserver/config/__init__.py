"""The configuration: from a file, the environment and the command line to one frozen, typed value.

``schema`` is the library: kinds of values and tables of keys. ``keys`` has the keys of this server.
``loader`` reads a configuration, ``sources`` knows the names of the keys in the environment and on the
command line, and ``document`` writes ``etc/mailserver.toml``. Nothing here has side effects.
"""
