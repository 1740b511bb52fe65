"""The soak, long form: ``python -m tests.soak --minutes 10``.

Everything that attackers are known to do, all at once, beside honest clients. Exit status 0 if honest
clients hardly noticed: see ``soak.problems``.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to attack (default 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailserver-soak-") as place:
        outcome = soak(Path(place), options.minutes * 60)
    print(outcome.table())
    problems = outcome.problems()
    for problem in problems:
        print(f"FAIL: {problem}")
    if not problems:
        print("PASS")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
