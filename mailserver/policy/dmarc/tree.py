"""The DNS tree walk: policy records of a domain and of those above it (RFC 9989 section 4.10)."""

from collections.abc import Sequence

from mailserver.policy.dmarc.record import DMARCRecord, read_dmarc
from mailserver.policy.questions import Evaluation, PolicyQuestion

MAX_QUESTIONS = 8  # for one walk
MAX_NAME = 253  # octets of a domain name


class NoDNSAnswer(Exception):
    """A look-up failed that may succeed later."""


class PolicyTree:
    """The policy records in DNS, each of which is asked for once."""

    def __init__(self) -> None:
        self._known: dict[str, DMARCRecord | None] = {}

    def record(self, domain: str) -> Evaluation[DMARCRecord | None]:
        """The policy record of one domain. Raises :class:`NoDNSAnswer`."""
        if domain not in self._known:
            question = PolicyQuestion(f"_dmarc.{domain}")
            if len(question.name) > MAX_NAME:
                return None
            reply = (yield (question,))[question]
            if reply.failed:
                raise NoDNSAnswer
            found = [record for text in reply.records if (record := read_dmarc(text, domain))]
            self._known[domain] = found[0] if len(found) == 1 else None
        return self._known[domain]

    def walk(self, domain: str) -> Evaluation[list[DMARCRecord]]:
        """The policy records of a domain and of those above it, from the longest name to the shortest.

        Raises :class:`NoDNSAnswer`.
        """
        found = []
        for name in walked(domain):
            record = yield from self.record(name)
            if record is not None:
                found.append(record)
                if record.psd != "u":
                    break
        return found

    def organization(self, domain: str) -> Evaluation[str]:
        """The organizational domain of a domain (section 4.10.2). Raises :class:`NoDNSAnswer`."""
        records = yield from self.walk(domain)
        return organization_of(domain, records)


def walked(domain: str) -> list[str]:
    """The domains of a walk. Of a long name, those between it and its last seven labels are left out."""
    labels = domain.split(".")
    shorter = [".".join(labels[at:]) for at in range(1, len(labels))]
    return [domain, *shorter[-(MAX_QUESTIONS - 1) :]]


def organization_of(domain: str, records: Sequence[DMARCRecord]) -> str:
    """The organizational domain of a domain whose walk has found these records."""
    for record in records:
        if record.psd == "n":
            return record.domain
        if record.psd == "y" and record.domain != domain:
            below = domain.removesuffix(f".{record.domain}").rpartition(".")[2]
            return f"{below}.{record.domain}"
    return records[-1].domain if records else domain
