"""How many workers a server has."""

import os

from mailserver.config.keys.top_level import Config


def worker_count(config: Config) -> int:
    """The number of workers that the configuration asks for, on the processors that this process may use."""
    if isinstance(config.workers, int):
        return config.workers
    if config.storage.engine != "maildir" or config.relay.atrn:
        return 1
    return max(1, len(os.sched_getaffinity(0)) - 1)
