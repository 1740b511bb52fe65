"""The frames between the supervisor and its workers: questions, answers, failures.

A frame is its length, a head of a fixed length, and a payload that ``pickle`` has made. All processes are of
one program and one user, and the sockets are private to them, so that nobody else can send a pickle.

    frame = length kind peer number payload    ; 4, 1, 2 and 8 octets; length is that of the rest

``peer`` is the worker that the frame goes to, or, after the supervisor has passed it on, the one that it
comes from. The supervisor is peer 0. ``number`` is that of the question, chosen by the process that asks.
"""

import copyreg
import pickle
import struct
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import attrs

from mailserver.errors import MailserverError, StorageError


def _proxy(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# The configuration has some, and their class has no name that could be looked up.
copyreg.pickle(MappingProxyType, lambda proxy: (_proxy, (dict(proxy),)))

_HEAD = struct.Struct("!BHQ")
LENGTH = struct.Struct("!I")
MAX_FRAME = 256 * 1024 * 1024  # octets
SUPERVISOR = 0


class FrameKind(IntEnum):
    """The kind of a frame."""

    QUESTION = 1  # payload: subject and value
    ANSWER = 2  # payload: the value
    FAILURE = 3  # payload: the exception


@attrs.frozen
class Frame:
    """One frame without its length."""

    kind: FrameKind
    peer: int
    number: int
    payload: bytes

    def encoded(self) -> bytes:
        """The octets, with the length."""
        return (
            LENGTH.pack(_HEAD.size + len(self.payload))
            + _HEAD.pack(self.kind, self.peer, self.number)
            + self.payload
        )

    @classmethod
    def decoded(cls, data: bytes) -> "Frame":
        """The frame from its octets without the length. Raises ValueError."""
        try:
            kind, peer, number = _HEAD.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from error
        return cls(FrameKind(kind), peer, number, data[_HEAD.size :])


def question(peer: int, number: int, subject: str, value: Any) -> Frame:
    """A question about ``subject``."""
    return Frame(FrameKind.QUESTION, peer, number, pickle.dumps((subject, value), pickle.HIGHEST_PROTOCOL))


def answer(peer: int, number: int, value: Any) -> Frame:
    """The answer to a question."""
    return Frame(FrameKind.ANSWER, peer, number, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def failure(peer: int, number: int, error: MailserverError) -> Frame:
    """The answer to a question that has failed. An exception that cannot be copied becomes a StorageError."""
    try:
        payload = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(payload)
    except Exception:  # noqa: BLE001 - an exception may have any constructor
        payload = pickle.dumps(StorageError(str(error)))
    return Frame(FrameKind.FAILURE, peer, number, payload)


def content(frame: Frame) -> Any:
    """The value in a frame."""
    return pickle.loads(frame.payload)
