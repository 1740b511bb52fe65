"""The command ``status`` of a running server: what it says of itself, for ``mailserver doctor``."""

import json
import os
import resource
from collections.abc import Mapping, Sequence

from mailserver import __version__
from mailserver.control.channel import CommandOutcome

STATUS = "status"


def status(listeners: Sequence[Mapping[str, object]], loaded: float) -> CommandOutcome:
    """One line with a JSON object. ``listeners`` are as in the ready file. ``loaded`` is when the
    configuration was read, in seconds since the epoch."""
    found = {
        "version": __version__,
        "pid": os.getpid(),
        "loaded": loaded,
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "listeners": listeners,
    }
    return CommandOutcome((json.dumps(found),))
