"""The keys of this server's configuration: a module for each section or a few sections that belong together.

A new key goes into the module of its section; a key above all sections, and a new section, into
``top_level``. Durations are in seconds, sizes in octets. The classes do not check their values; reading a
configuration does.
"""
