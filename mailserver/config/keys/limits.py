"""The section about how much anybody may do; see ``model``."""

import attrs

from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.mail_kinds import NETWORK, Network
from mailserver.config.schema.scalars import Duration, Integer, RateOf
from mailserver.config.schema.tables import key
from mailserver.mail.rate import Rate


@attrs.frozen(kw_only=True)
class LimitsSection:
    """How much the server lets happen; 0, or a rate that is false, is no limit."""

    connections: int = key(Integer(0), "Connections at a time, of all protocols; 0: no limit.", default=10000)
    connections_per_address: int = key(
        Integer(0),
        "Connections at a time from one address; 0: no limit. Here and below an IPv6 client counts as its "
        "whole /64.",
        default=50,
    )
    messages_per_address: Rate = key(RateOf(), "Messages taken from one address.", default="0")
    messages_per_account: Rate = key(RateOf(), "Messages taken from one account, after a login.", default="0")
    messages_per_sender_domain: Rate = key(
        RateOf(), "Messages taken with a reverse-path in one domain.", default="0"
    )
    recipients_per_address: Rate = key(RateOf(), "Recipients named by one address.", default="0")
    recipients_per_account: Rate = key(
        RateOf(),
        "Recipients named by one account, after a login: what a stolen password is worth.",
        default="2000/1d",
    )
    recipients_per_sender_domain: Rate = key(
        RateOf(), "Recipients named with a reverse-path in one domain.", default="0"
    )
    failed_recipients_per_address: Rate = key(
        RateOf(),
        "Recipients that do not exist, named by one address: against trying out which names there are.",
        default="100/1h",
    )
    commands_per_address: Rate = key(
        RateOf(),
        "Commands from one address. Beyond the rate its connections are closed. Mail programs and relays "
        "send far fewer.",
        default="100000/1m",
    )
    error_delay: float = key(
        Duration(maximum="1m"),
        "How long the reply to a wrong command waits, from the fourth of a connection on. Refused senders, "
        "recipients and names count as wrong commands from the 101st since the last message on.",
        default="1s",
    )
    auth_failure_delay: float = key(
        Duration(maximum="30s"),
        "How long a failed login waits for its answer; doubles with each one of the client's address, up "
        "to 30 seconds.",
        default="1s",
    )
    auth_failures: int = key(
        Integer(0),
        "With this many failed logins a connection is closed; 0: never.",
        default=3,
    )
    auth_block_after: int = key(
        Integer(0),
        "With this many failed logins of one address under one name within the time of auth_block, that "
        "address cannot log in under that name for that time; others can. 0: never.",
        default=10,
    )
    auth_block: float = key(
        Duration("1s"), "How long that lasts, counted from the last failed login.", default="15m"
    )
    exempt: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Clients whose addresses are neither counted nor delayed. The limits per account and per sender "
        "domain are for them, too.",
        default=["127.0.0.0/8", "::1"],
    )
