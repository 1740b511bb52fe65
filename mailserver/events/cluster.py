"""Events of a server with several workers."""

from mailserver.events.base import Event, event


@event
class WorkerStarted(Event):
    """A worker serves clients."""

    text = "worker {worker} is ready (pid {pid})"
    worker: int
    pid: int


@event
class WorkerEnded(Event):
    """A worker has ended, and is started again after ``seconds``."""

    text = "worker {worker} (pid {pid}) has ended: {reason}; it starts again in {seconds:.3g} seconds"
    level = "error"
    worker: int
    pid: int
    reason: str
    seconds: float


@event
class WorkerOutput(Event):
    """A worker has written a line to its standard error."""

    text = "worker {worker}: {line}"
    level = "warn"
    worker: int
    line: str


@event
class SupervisorGone(Event):
    """The supervisor has ended without stopping this worker, which stops now."""

    text = "the supervisor has ended; worker {worker} stops"
    level = "error"
    worker: int


@event
class QuestionFailed(Event):
    """A question of another worker has failed by a bug."""

    text = "a question of worker {peer} about {subject} has failed"
    level = "error"
    subject: str
    peer: int


@event
class WorkerLogged(Event):
    """A worker has logged a line, and Twisted writes the log."""

    text = "{line}"
    line: str


@event
class NoticeNotTaken(Event):
    """Another worker has not taken a notice, or cannot apply it. It starts again, with the present state."""

    text = "worker {worker} has not taken the notice {subject}, and starts again: {error}"
    level = "warn"
    worker: int
    subject: str
    error: object


@event
class LimitsNotAnswered(Event):
    """The supervisor does not answer a worker in time, which goes on without limits of clients until it is
    answered again. It is logged once."""

    text = "the supervisor does not answer; the limits of clients are not in force: {error}"
    level = "error"
    error: object
