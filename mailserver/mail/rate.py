"""The rate of a limit, such as ``100/1h``."""

import attrs


@attrs.frozen
class Rate:
    """At most ``count`` events within any ``seconds``. False, and no limit, if ``count`` is 0."""

    count: int = 0
    seconds: float = 1.0

    def __bool__(self) -> bool:
        return self.count > 0
