"""The section [limits] without its defaults: a test has the limits that it sets, and no others."""

from typing import Any

import attrs

from mailserver.config.keys.limits import LimitsSection
from mailserver.mail.rate import Rate

_OFF: dict[Any, Any] = {int: 0, float: 0.0, Rate: Rate()}
NO_LIMITS = LimitsSection(**{field.name: _OFF.get(field.type, ()) for field in attrs.fields(LimitsSection)})


def only_limits(**keys: Any) -> LimitsSection:
    """A section with these keys; everything else has no limit."""
    return attrs.evolve(NO_LIMITS, **keys)
