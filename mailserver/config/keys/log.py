"""The section [log]: the form of log lines."""

from typing import Literal, get_args

import attrs

from mailserver.config.schema.scalars import Choice
from mailserver.config.schema.tables import key

LogFormat = Literal["text", "json"]


@attrs.frozen(kw_only=True)
class LogSection:
    """How events are written."""

    format: LogFormat = key(
        Choice[LogFormat](get_args(LogFormat)),
        "Format of an event in the log: a line of text for people (text), or a JSON object on one line "
        "(json).",
        default="text",
    )
