"""A server with several workers: the supervisor, and the program of a worker.

The supervisor (``supervisor``) binds the ports, locks the data directory, and starts each worker as a process
of its own (``child``) with a start order (``order``). The worker (``program``) builds the same server as a
process alone, with sockets that it has inherited (``inherited``). :mod:`mailserver.cluster` has the questions
between them.
"""
