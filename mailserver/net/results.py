"""Results that are there already: callbacks have their price, and most need none."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


# Any: the type of the result makes no difference.
def fired(deferred: "Deferred[Any]") -> bool:
    """Whether the result is there already and is no failure."""
    return deferred.called and not deferred.paused and not isinstance(deferred.result, Failure)
