"""The only place that writes, syncs, renames and removes files, and makes folders.

Nothing here knows what a message is. ``OSError`` passes through; the rooms that call this one turn
it into the errors of the domain.
"""
