"""The checks of incoming mail. Each is one class for :mod:`mailserver.reception`."""
