"""Makes the table of metrics in docs/monitoring.md: ``python -m tests.support.docs.metrics``."""

import re

from mailserver.metrics.catalog import METRICS
from tests.support.e2e.server import ROOT

PAGE = ROOT / "docs" / "monitoring.md"
TABLE = re.compile(r"^\| metric \|.*\n(?:\|.*\n)*", re.MULTILINE)


def table() -> str:
    """The table in Markdown."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.full_name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda found: table(), PAGE.read_text()))
