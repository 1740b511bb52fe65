"""When messages came to a Maildir (``pop3.expire``)."""

import errno
import os

import pytest

from mailserver.errors import MessageVanished, StorageRefused, storage_error
from mailserver.store.arrival import came_before, has_before
from tests.support.store.messages import ALICE


def test_the_time_is_that_of_the_file(maildirs):
    """Of two files the later one counts: another program was interrupted while it moved the message."""
    paths = [maildirs.put(folder, "1.h", b"x\n") for folder in ("new", "cur")]
    for path, seconds in zip(paths, (1000, 2000), strict=True):
        os.utime(path, (0, seconds))
    both = list(map(str, paths))
    assert [came_before(both, when) for when in (999, 1001, 2000, 2001)] == [False, False, False, True]
    assert has_before(maildirs.box(), 2001) and not has_before(maildirs.box(), 1000)
    paths[1].unlink()
    assert came_before(both, 1001) and not came_before([str(paths[1])], 1001)
    paths[0].rename(paths[0].with_name("1.h:2,S"))
    drop = maildirs.wait(maildirs.store.maildrop(ALICE))
    assert list(maildirs.wait(drop.arrived_before(1001))) == [0]
    assert maildirs.wait(drop.arrived(0)) == 1000
    (maildirs.box() / "new" / "1.h:2,S").unlink()
    with pytest.raises(MessageVanished):
        maildirs.wait(drop.arrived(0))
    drop.release()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP])
def test_an_error_that_somebody_must_mend(number):
    assert isinstance(storage_error(OSError(number, "no", "file")), StorageRefused)
    assert not isinstance(storage_error(OSError(errno.EIO, "no", "file")), StorageRefused)
