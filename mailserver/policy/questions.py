"""DNS questions of the checks of a message, as values: a check asks for records and never looks them up.

A check that needs DNS is a generator. It yields the questions that it has now, all of which may be asked at
the same time, and is resumed with a reply to each. Its return value is the result of the check.
"""

from collections.abc import Generator, Mapping
from typing import Literal, TypeAlias, TypeVar

import attrs

_Result = TypeVar("_Result")


@attrs.frozen
class PolicyQuestion:
    """The records of one kind for ``name``, a domain name of A-labels in lower case without the final dot."""

    name: str
    kind: Literal["TXT", "A"] = "TXT"


@attrs.frozen
class PolicyReply:
    """The TXT ``records``, with the strings of each joined; none if there are none, or for another kind.

    ``exists`` is false if there is no such name, and none below it (NXDOMAIN, RFC 8020). With ``failed``
    there is no answer now, but there may be one later.
    """

    records: tuple[bytes, ...] = ()
    exists: bool = True
    failed: bool = False


Evaluation: TypeAlias = Generator[tuple[PolicyQuestion, ...], Mapping[PolicyQuestion, PolicyReply], _Result]
