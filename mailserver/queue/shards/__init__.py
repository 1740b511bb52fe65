"""The spools of several workers: *shards*, the spools of all workers but the first.

A shard has entries only, of messages for mailboxes here. ``worker_spool`` accepts them, and forwards all
other messages to the first worker (``forwarding``). ``absorption`` moves the entries of a worker that does
not exist any more to the spool of the first worker.
"""
