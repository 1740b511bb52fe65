"""The checks of incoming mail. Each is one class for :mod:`mailserver.reception`.

SPF, DKIM, DMARC and ARC are evaluated without I/O: their questions to DNS are values (``questions``), and
``lookups`` asks a resolver.
"""
