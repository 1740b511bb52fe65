"""DNS questions of the checks of a message, as values: a check asks for records and never looks them up.

A check that needs DNS is a generator. It yields the questions that it has now, all of which may be asked at
the same time, and is resumed with a reply to each. Its return value is the result of the check.
"""

from collections.abc import Generator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

_Result = TypeVar("_Result")


@attrs.frozen
class PolicyQuestion:
    """The records of one kind for ``name``, a domain name of A-labels in lower case without the final dot.

    Unusual octets in names are escaped as in a master file (RFC 1035 section 5.1). Aliases are followed.
    """

    name: str
    kind: Literal["TXT", "A", "AAAA", "MX", "PTR"] = "TXT"


@attrs.frozen
class PolicyReply:
    """The ``records`` of the name, none if it has none of the kind.

    They are ``bytes`` for TXT, the strings of each record joined, and else ``str``: addresses or names, for
    MX those of the hosts, the best ones first. ``exists`` is false if there is no such name, and none below
    it (NXDOMAIN, RFC 8020). With ``failed`` there is no answer now, but there may be one later; ``reason``
    says why, or is "".
    """

    records: tuple[Any, ...] = ()  # the kind tells the type
    exists: bool = True
    failed: bool = False
    reason: str = ""


Evaluation: TypeAlias = Generator[tuple[PolicyQuestion, ...], Mapping[PolicyQuestion, PolicyReply], _Result]
