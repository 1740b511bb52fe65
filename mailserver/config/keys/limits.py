"""The section [limits]: how much a client may do."""

import attrs

from mailserver.config.schema.kinds import ListOf
from mailserver.config.schema.mail_kinds import NETWORK, Network
from mailserver.config.schema.scalars import Duration, Integer, RateOf
from mailserver.config.schema.tables import key
from mailserver.mail.rate import Rate


@attrs.frozen(kw_only=True)
class LimitsSection:
    """The limits of all clients. 0, and a rate that is false, mean no limit."""

    connections: int = key(
        Integer(0), "Maximum number of open connections, of all protocols; 0: no limit.", default=10000
    )
    connections_per_address: int = key(
        Integer(0),
        "Maximum number of open connections from one address; 0: no limit. Here and below, an IPv6 client "
        "counts as its /64 network.",
        default=50,
    )
    messages_per_address: Rate = key(
        RateOf(), "Maximum rate of messages from one address.", default="0", note="no limit"
    )
    messages_per_account: Rate = key(
        RateOf(), "Maximum rate of messages from one account, after a login.", default="0", note="no limit"
    )
    messages_per_sender_domain: Rate = key(
        RateOf(),
        "Maximum rate of messages with a reverse-path in one domain.",
        default="0",
        note="no limit",
    )
    recipients_per_address: Rate = key(
        RateOf(), "Maximum rate of recipients from one address.", default="0", note="no limit"
    )
    recipients_per_account: Rate = key(
        RateOf(),
        "Maximum rate of recipients from one account, after a login. It limits the abuse of a stolen "
        "password.",
        default="2000/1d",
    )
    recipients_per_sender_domain: Rate = key(
        RateOf(),
        "Maximum rate of recipients with a reverse-path in one domain.",
        default="0",
        note="no limit",
    )
    failed_recipients_per_address: Rate = key(
        RateOf(),
        "Maximum rate of unknown recipients from one address. It stops clients that search for valid names.",
        default="100/1h",
    )
    commands_per_address: Rate = key(
        RateOf(),
        "Maximum rate of commands from one address. Beyond it the server closes the connections. Mail "
        "programs and relays send far fewer.",
        default="100000/1m",
    )
    error_delay: float = key(
        Duration(maximum="1m"),
        "Delay of the reply to a wrong command, from the fourth one of a connection on. The first 100 "
        "rejected senders, recipients and names since the last message do not count as wrong commands.",
        default="1s",
    )
    auth_failure_delay: float = key(
        Duration(maximum="30s"),
        "Delay of the reply to a failed login. It doubles with each failed login from the same address, up "
        "to 30 seconds.",
        default="1s",
    )
    auth_failures: int = key(
        Integer(0), "Number of failed logins that closes a connection; 0: no limit.", default=3
    )
    auth_block_after: int = key(
        Integer(0),
        "Number of failed logins from one address with one user name, within the time of auth_block, that "
        "blocks further logins of that address with that name; 0: never. Other addresses are not blocked.",
        default=10,
    )
    auth_block: float = key(
        Duration("1s"),
        "Duration of the block of auth_block_after, from the last failed login on.",
        default="15m",
    )
    exempt: tuple[Network, ...] = key(
        ListOf(NETWORK, may_be_empty=True),
        "Networks of clients that are neither counted nor delayed. The limits per account and per sender "
        "domain also apply to them.",
        default=["127.0.0.0/8", "::1"],
    )
