"""Proofs of the promise that 250 means on disk and in the mailbox: what a crash may not do.

Each proof is a module that people run for as long as they like, ``python -m tests.crash.NAME``, and beside
it a ``test_crash_NAME.py`` with a short form of it. A proof that finds nothing shows nothing until the same
proof is seen to fail, so each has a control in which something is spoilt on purpose.
"""
