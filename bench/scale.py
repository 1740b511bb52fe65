"""The amount of work: three scales."""

import attrs

SMALL = 4096
LARGE = 10 * 1024 * 1024


@attrs.frozen
class Scale:
    """Counts for all workloads. ``messages`` and ``connections`` are multiples of the four senders."""

    messages: int  # received in all, one per connection
    connections: int  # simultaneous connections while receiving
    each: int  # messages per connection, in the workload with many
    large: int  # received messages of LARGE octets
    shared: int  # received messages with several recipients
    recipients: int  # recipients of each of these
    mailboxes: int  # mailboxes for POP3, each with its own client
    depth: int  # messages in each of these mailboxes
    sessions: int  # POP3 sessions on each of these mailboxes
    large_depth: int  # messages of LARGE octets in each of four mailboxes
    idle: int  # idle connections


SCALES = {
    "tiny": Scale(
        messages=40,
        connections=8,
        each=5,
        large=4,
        shared=4,
        recipients=5,
        mailboxes=2,
        depth=20,
        sessions=5,
        large_depth=1,
        idle=20,
    ),
    "small": Scale(
        messages=800,
        connections=20,
        each=40,
        large=12,
        shared=20,
        recipients=20,
        mailboxes=10,
        depth=200,
        sessions=30,
        large_depth=5,
        idle=200,
    ),
    "full": Scale(
        messages=4000,
        connections=20,
        each=100,
        large=40,
        shared=40,
        recipients=50,
        mailboxes=20,
        depth=1000,
        sessions=100,
        large_depth=10,
        idle=500,
    ),
}
