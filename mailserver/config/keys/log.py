"""The section [log]: the form of log lines, and the events that are kept."""

from typing import Literal, get_args

import attrs

from mailserver.config.schema.scalars import Choice, Integer, Size
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
    trace_days: int = key(
        Integer(0),
        "Days that the server keeps the events of messages for mailserver trace; 0: it keeps none.",
        default=14,
    )
    trace_size: int = key(
        Size("1 MiB"),
        "Maximum size of the kept events, in octets. The oldest ones are removed.",
        default="256 MiB",
    )
