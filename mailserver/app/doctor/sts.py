"""The policy files of MTA-STS (RFC 8461 section 3.3), for the domains that have its record."""

from collections.abc import Sequence

from mailserver.app.doctor.findings import DoctorFinding, Examined
from mailserver.app.doctor.installation import Installation
from mailserver.delivery.tls_policy.sts_fetch import PolicyUnavailable
from mailserver.delivery.tls_policy.sts_policy import parse_policy, record_id
from mailserver.errors import DNSFailure


async def check_sts(it: Installation) -> Sequence[Examined]:
    """Fetched as senders do, by HTTPS. The check of DNS reports the record itself."""
    results: list[Examined] = []
    for domain in it.config.domains:
        try:
            answer = await it.resolver.lookup(f"_mta-sts.{domain}", "TXT")
        except DNSFailure:
            continue
        if record_id(answer.records) is not None and (problem := await _problem(it, domain)) is not None:
            mend = f"put the file there that mailserver dns {domain} prints"
            results.append(DoctorFinding("mta-sts-policy", f"mta-sts.{domain}", problem, mend))
    return results


async def _problem(it: Installation, domain: str) -> str | None:
    """What is wrong with a policy file; None if nothing is."""
    try:
        policy = parse_policy(await it.fetch_policy(domain))
    except PolicyUnavailable as error:
        return f"senders cannot fetch the policy: {error}"
    except ValueError as error:
        return f"senders cannot use the policy: {error}"
    if policy.mode != "none" and not policy.matches(it.config.hostname):
        return (
            f"the policy ({policy.mode}) has {', '.join(policy.mx)} and not {it.config.hostname}: senders "
            "that follow it send nothing here"
        )
    return None
