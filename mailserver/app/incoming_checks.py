"""The checks of incoming mail, in their order."""

from collections.abc import Callable, Collection, Sequence

from mailserver.app.reputation import BuiltReputation, ReputationChecks
from mailserver.config.keys.top_level import Config
from mailserver.config.schema.mail_kinds import Network
from mailserver.interfaces import IRouter, ISendingLimits
from mailserver.policy.loops import ForwardingLoop
from mailserver.policy.quota import MailboxQuota, MailboxRoom
from mailserver.policy.rates import SendingRates
from mailserver.policy.relay import NullMX, RelayPermission
from mailserver.policy.senders import SenderOwnership
from mailserver.policy.signing import DKIMSigning


def mail_checks(
    config: Config,
    networks: Collection[Network],
    *,
    limits: ISendingLimits,
    router: IRouter,
    room: MailboxRoom,
    accepts_no_mail: Callable[[str], bool],
    signing: DKIMSigning,
    reputation: ReputationChecks,
    senders: Callable[[Config, BuiltReputation], Sequence[object]],
    filters: Callable[[Config], Sequence[object]],
) -> Sequence[object]:
    """The checks of incoming mail, in their order. Clients in ``networks`` may relay."""
    own_senders = config.submission.senders == "own"
    known = reputation(config)
    return (
        SendingRates(limits),
        *known.first,
        *([SenderOwnership(router)] if own_senders else []),
        RelayPermission(networks, config.relay.domains, config.relay.atrn),
        NullMX(accepts_no_mail),
        MailboxQuota(room),
        ForwardingLoop(),
        *senders(config, known),
        *known.last,
        *filters(config),
        *([signing] if config.dkim else []),  # the last one, as others may reject the message
    )
