"""Random octets in great numbers for the sessions of both protocols and for SASL exchanges, without sockets.

``python -m tests.fuzz --help`` says how to run it for long; the default test run has a short form.
"""
