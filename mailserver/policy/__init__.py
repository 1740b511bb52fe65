"""The checks that decide about mail that comes in: each is one class for :mod:`mailserver.reception`."""
