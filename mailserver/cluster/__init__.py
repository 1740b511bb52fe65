"""The processes of one server ask each other questions, and tell each other of changes.

``interfaces`` has the contracts. A server with one process needs none of the rest: ``alone`` answers at once.
"""
