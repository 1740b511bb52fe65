"""The section [log]."""

from typing import Literal, get_args

import attrs

from mailserver.config.schema.scalars import Choice
from mailserver.config.schema.tables import key

LogFormat = Literal["text", "json"]


@attrs.frozen(kw_only=True)
class LogSection:
    """How the server tells what happens."""

    format: LogFormat = key(
        Choice[LogFormat](get_args(LogFormat)),
        "How each event is written, on one line: for people, or as a JSON object.",
        default="text",
    )
