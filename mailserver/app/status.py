"""The command ``status`` of a running server: what it says of itself, for ``mailserver doctor``."""

import json
import os
import resource
from collections.abc import Mapping, Sequence

import attrs

from mailserver import __version__
from mailserver.control.channel import CommandOutcome

STATUS = "status"
WORKERS = "workers"
"""The question to the supervisor for the status of all workers."""


@attrs.frozen
class WorkerStatus:
    """The process of one worker. ``pid`` is 0 while there is none, ``since`` the time of its start in seconds
    since the epoch. It is ``ready`` when it serves clients."""

    number: int
    pid: int
    since: float
    ready: bool


def status(
    listeners: Sequence[Mapping[str, object]], loaded: float, workers: Sequence[WorkerStatus]
) -> CommandOutcome:
    """One line with a JSON object. ``listeners`` are as in the ready file. ``loaded`` is when the
    configuration was read, in seconds since the epoch."""
    found = {
        "version": __version__,
        "pid": os.getpid(),
        "loaded": loaded,
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "listeners": listeners,
        "workers": [attrs.asdict(each) for each in workers],
    }
    return CommandOutcome((json.dumps(found),))
