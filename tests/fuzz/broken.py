"""How a property that does not hold is told."""


class Broken(Exception):
    """A session did what no session may do.

    ``property`` names which rule it broke, so that a smaller stream can be said to break the same.
    """

    def __init__(self, property: str, detail: str) -> None:
        super().__init__(f"{property}: {detail}")
        self.property = property
        self.detail = detail


def check(holds: bool, property: str, *detail: object) -> None:
    """Raise :class:`Broken` unless the property holds."""
    if not holds:
        raise Broken(property, " ".join(map(str, detail)))
