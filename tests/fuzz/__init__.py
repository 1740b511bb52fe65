"""Random sessions in great numbers against both protocols' sessions, without sockets.

``python -m tests.fuzz --help`` says how to run it for long; the default test run has a short form.
"""
