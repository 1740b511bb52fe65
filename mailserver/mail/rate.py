"""How much of something may happen in how much time: the value of limits such as ``100/1h``."""

import attrs


@attrs.frozen
class Rate:
    """At most ``count`` events within any stretch of ``seconds``; false where ``count`` is 0: no limit."""

    count: int = 0
    seconds: float = 1.0

    def __bool__(self) -> bool:
        return self.count > 0
