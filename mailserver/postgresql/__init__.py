"""A database in PostgreSQL: what the engines of mailboxes, spool and accounts need of it.

``connections`` connects and reconnects, ``schema`` has the tables, ``transaction`` is the transaction of the
thread that commits, ``leases`` are locks among servers, and ``database`` opens all of them. The statements of
an engine stand in the engine's own package. Nothing depends on the state of a session, so a connection may
go through PgBouncer with transaction pooling.
"""
