"""An installation without trouble, and what is printed of one with some."""

from mailserver.app.doctor.findings import NotChecked
from tests.support.doctor.site import DoctorSite


def test_nothing_is_found_where_nothing_is_wrong(site: DoctorSite) -> None:
    examination = site.examine()
    assert list(map(str, examination.findings)) == []
    assert examination.not_checked == [NotChecked("port 25 from outside", "that needs another machine")]
    assert list(examination.lines)[-1] == "no problems found"
