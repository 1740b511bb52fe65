"""Replies that wait to be sent."""

from mailserver.session.output import MAX_OCTETS, OutputBuffer


def test_what_is_added_is_taken_once_and_in_order() -> None:
    box = OutputBuffer()
    assert box.take() == b""
    box.add(b"one ")
    box.add(b"two")
    assert not box.full
    assert box.take() == b"one two"
    assert box.take() == b""


def test_it_is_full_until_it_is_taken() -> None:
    box = OutputBuffer()
    box.add(b"x" * (MAX_OCTETS - 1))
    assert not box.full
    box.add(b"x")
    assert box.full
    assert len(box.take()) == MAX_OCTETS
    assert not box.full
