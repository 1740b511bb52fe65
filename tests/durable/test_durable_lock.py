import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import mailserver
from mailserver.durable.lock import DataLock
from mailserver.errors import DataInUse
from tests.support.faulty_calls import open_files


def test_it_names_its_holder_to_a_second(tmp_path):
    path = tmp_path / "lock"
    with DataLock(path):
        assert path.read_text() == f"pid {os.getpid()}\n"
        with pytest.raises(DataInUse) as caught:
            DataLock(path).acquire()
    assert str(path) in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)


def test_it_can_be_had_again_and_the_file_stays(tmp_path):
    path = tmp_path / "lock"
    path.write_text("pid 123456789 and more than will be written\n")
    lock = DataLock(path)
    lock.acquire()
    lock.release()
    lock.release()
    assert path.exists()
    with DataLock(path):
        assert path.read_text() == f"pid {os.getpid()}\n"


def test_a_holder_that_has_not_written_yet(tmp_path):
    path = tmp_path / "lock"
    with DataLock(path):
        path.write_text("")
        with pytest.raises(DataInUse, match="pid unknown"):
            DataLock(path).acquire()


def test_mode_and_links(tmp_path):
    before = os.umask(0)
    try:
        with DataLock(tmp_path / "lock"):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    finally:
        os.umask(before)
    (tmp_path / "link").symlink_to("lock")
    with pytest.raises(OSError, match="symbolic"):
        DataLock(tmp_path / "link").acquire()


def test_a_failure_leaves_no_descriptor(tmp_path):
    with DataLock(tmp_path / "lock"):
        before = open_files(tmp_path)
        with pytest.raises(DataInUse):
            DataLock(tmp_path / "lock").acquire()
        assert open_files(tmp_path) == before


def test_another_process_holds_it_until_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import sys, pathlib, time, subprocess\n"
        "from mailserver.durable.lock import DataLock\n"
        "DataLock.acquire(lock := DataLock(pathlib.Path(sys.argv[1])))\n"
        # A program that the holder has started must not keep the lock when the holder is gone.
        "other = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "print(other.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(mailserver.__file__).parents[1],
    )
    assert holder.stdout is not None
    other = int(holder.stdout.readline())
    try:
        with pytest.raises(DataInUse, match=f"pid {holder.pid}"):
            DataLock(path).acquire()
        holder.kill()
        holder.wait()
        with DataLock(path):
            assert path.read_text() == f"pid {os.getpid()}\n"
    finally:
        holder.kill()
        os.kill(other, signal.SIGKILL)
        holder.communicate()
