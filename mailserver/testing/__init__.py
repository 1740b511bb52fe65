"""The fixture: a real mail server inside a test, for clients and for programs that send or read mail.

It runs in the process of the test or as a program of its own. It keeps its mail in memory, listens on
loopback addresses only, and shows every fault that a rule asks for.
"""
