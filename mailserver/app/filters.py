"""The mail filters of the configuration."""

from collections.abc import Mapping, Sequence
from functools import partial

from mailserver import __version__
from mailserver.app.reputation import exempt_networks
from mailserver.config.keys.policy import MilterDefault
from mailserver.config.keys.top_level import Config
from mailserver.interfaces import IReactor
from mailserver.mail.verdict import MAIL_SYSTEM, NOT_AUTHORIZED, Defer, Refuse
from mailserver.net.byte_stream import connect_stream
from mailserver.policy.milter.check import MailFilters
from mailserver.policy.milter.session import FilterVerdict, MailFilter
from mailserver.policy.strangers import inside
from mailserver.threads.pool import run_in_thread

_TEXT = "a mail filter is not available now"
_FAILED: Mapping[MilterDefault, FilterVerdict] = {
    "accept": None,
    "defer": Defer(MAIL_SYSTEM, f"{_TEXT}; please try again later", "policy.milter_default"),
    "reject": Refuse(NOT_AUTHORIZED, _TEXT, "policy.milter_default"),
}


def mail_filters(config: Config, reactor: IReactor) -> Sequence[MailFilters]:
    """The check by the mail filters, if the configuration has any."""
    policy = config.policy
    if not policy.milter:
        return ()
    filters = [
        MailFilter(
            key=f"policy.milter[{number}]",
            connect=partial(connect_stream, reactor, destination, policy.milter_timeout),
            failed=_FAILED[policy.milter_default],
            macros={
                "j": config.hostname,
                "v": f"mailserver {__version__}",
                "daemon_name": config.hostname,
            },
            seconds=reactor.seconds,
        )
        for number, destination in enumerate(policy.milter, 1)
    ]
    return (MailFilters(filters, inside(exempt_networks(config)), partial(run_in_thread, reactor)),)
