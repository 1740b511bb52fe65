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
    kind: Literal["TXT", "A", "AAAA", "MX"] = "TXT"


@attrs.frozen
class PolicyReply:
    """The records that DNS has; none if the name does not exist or has no such records.

    A TXT record has its strings joined. Of other kinds only the number of records is of interest. With
    ``failed`` there is no answer now, but there may be one later.
    """

    records: tuple[bytes, ...] = ()
    failed: bool = False


Evaluation: TypeAlias = Generator[tuple[PolicyQuestion, ...], Mapping[PolicyQuestion, PolicyReply], _Result]
