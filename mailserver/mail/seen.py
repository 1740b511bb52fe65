"""What the server remembers of clients, senders and correspondents: when it has seen them."""

from typing import Literal

import attrs

SeenKind = Literal["waiting", "passed", "network", "written", "heard", "new"]
"""What was seen:

    waiting   a first attempt, which greylisting has deferred: its client, sender and recipient
    passed    a sender whose mail was accepted: its network or proved domain, and its address
    network   the network or proved domain of such senders
    written   an address of another server that an account here has written to
    heard     an address that has sent mail to here, as it is and without its parts that vary
    new       an unknown address that has tried to send mail to here, without its parts that vary
"""

SeenKey = tuple[SeenKind, str]


@attrs.frozen
class Seen:
    """The times of the first and the last sight, in seconds since the epoch. ``count`` is the number of
    senders of a network."""

    first: float
    last: float
    count: int = 1
