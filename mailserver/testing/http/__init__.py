"""The fixture for programs in any language: JSON over HTTP for everything that a test may do.

``routes`` has the table of all requests, ``openapi.json`` describes them.
"""
