"""The findings of ``mailserver doctor``, as values."""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from mailserver.app.doctor.kinds import KINDS, SEVERITIES, Severity
from mailserver.errors import one_line


@attrs.frozen
class DoctorFinding:
    """Something that an administrator should know.

    ``kind`` is a key of :data:`~mailserver.app.doctor.kinds.KINDS`. ``subject`` is a configuration key, a
    file, a name or an address. ``text`` is for people. ``mend`` is the command or the key that mends it.
    """

    kind: str
    subject: str
    text: str
    mend: str

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    @property
    def lines(self) -> tuple[str, str]:
        """For a terminal."""
        return (
            one_line(f"{self.severity}: {self.subject}: {self.text} [{self.kind}]"),
            one_line(f"    {self.mend}"),
        )


@attrs.frozen
class NotChecked:
    """A part that could not be checked, and why."""

    subject: str
    reason: str

    @property
    def line(self) -> str:
        return one_line(f"not checked: {self.subject}: {self.reason}")


@attrs.frozen
class DoctorNote:
    """How a part was checked, where there are several ways."""

    text: str


Examined = DoctorFinding | NotChecked | DoctorNote


@attrs.frozen
class Examination:
    """The outcome of all checks."""

    results: Sequence[Examined]

    @property
    def findings(self) -> Sequence[DoctorFinding]:
        """The worst ones first, otherwise in the order of the checks."""
        found = [one for one in dict.fromkeys(self.results) if isinstance(one, DoctorFinding)]
        return sorted(found, key=lambda one: SEVERITIES.index(one.severity))

    @property
    def not_checked(self) -> Sequence[NotChecked]:
        return [one for one in dict.fromkeys(self.results) if isinstance(one, NotChecked)]

    @property
    def notes(self) -> Sequence[str]:
        return [one.text for one in self.results if isinstance(one, DoctorNote)]

    @property
    def is_sound(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(one.severity == "notice" for one in self.findings)

    @property
    def lines(self) -> Iterator[str]:
        """For a terminal."""
        for finding in self.findings:
            yield from finding.lines
        yield from (one.line for one in self.not_checked)
        yield from (one_line(f"note: {text}") for text in self.notes)
        counts = [_counted(self._count(severity), severity) for severity in SEVERITIES]
        yield ", ".join(counts) if self.findings else "no problems found"

    @property
    def object(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "findings": [
                {
                    "severity": one.severity,
                    "kind": one.kind,
                    "subject": one.subject,
                    "text": one.text,
                    "mend": one.mend,
                }
                for one in self.findings
            ],
            "not_checked": [attrs.asdict(one) for one in self.not_checked],
            "notes": list(self.notes),
            **{f"{severity}s": self._count(severity) for severity in SEVERITIES},
        }

    def _count(self, severity: Severity) -> int:
        return sum(one.severity == severity for one in self.findings)


def _counted(number: int, severity: Severity) -> str:
    return f"{number} {severity}" if number == 1 else f"{number} {severity}s"
