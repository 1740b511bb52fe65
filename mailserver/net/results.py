"""Results that are available already, which need no callback."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


# Any: the type of the result makes no difference.
def fired(deferred: "Deferred[Any]") -> bool:
    """Whether the Deferred has a result that is not a failure."""
    return deferred.called and not deferred.paused and not isinstance(deferred.result, Failure)
