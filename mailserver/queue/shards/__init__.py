"""The spools of several workers: *shards*, the spools of all workers but the first.

A shard has entries only. ``absorption`` moves those of a worker that does not exist any more to the spool of
the first worker.
"""
