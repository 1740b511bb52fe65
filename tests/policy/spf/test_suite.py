"""The public test suite of RFC 7208, whole. The table in this folder needs no download."""

from tests.support.e2e.programs import missing
from tests.support.spf import ZoneAnswers
from tests.support.spf_suite import suite_cases, suite_file

LEAST = 200  # a file with fewer tests is not the suite


def test_the_suite_passes_with_the_preferred_results() -> None:
    path = suite_file()
    if path is None:
        missing("SPF_SUITE names no rfc7208-tests.yml (in the source distribution of pyspf, for example)")
    cases = list(suite_cases(path))
    assert len(cases) >= LEAST
    results = [(case, ZoneAnswers(case.zone).evaluate(case.request)) for case in cases]
    wrong = [
        (case.name, result)
        for case, result in results
        if result.result != case.results[0] or case.explanation not in (None, result.explanation)
    ]
    assert not wrong
