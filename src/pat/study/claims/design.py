"""The design of a study against its claims: whether both outcomes of each part can happen, before any run."""

import math

from pat.study.claims.claims import Claims, Part
from pat.study.claims.statistics import STATISTICS
from pat.study.plan.profile import Profile

_POINTS = (-100.0, 100.0)


def reach(part: Part, profile: Profile) -> tuple[float, float]:
    """The means that a profile's schedule allows a part, whatever the networks do."""
    bounds = getattr(STATISTICS[part.statistic], "reach", None)
    return bounds(profile) if bounds else _POINTS


def check_design(claims: Claims, profile: Profile) -> None:
    """Refuse parts that this schedule decides by itself.

    Raises:
        ValueError: naming each part that could only hold, or could only fail, with what it can reach.
    """
    fixed = []
    for claim in claims.claims:
        for part in claim.parts:
            (low, high), (least, most) = part.region, reach(part, profile)
            can_hold = most > low and least < high
            can_fail = (math.isfinite(low) and least < low) or (math.isfinite(high) and most > high)
            if not (can_hold and can_fail):
                only = "hold" if can_hold else "fail"
                fixed.append(
                    f"claim {claim.id!r}, {part.name!r}: it can only {only}, since the schedule of "
                    f"{profile.name!r} allows {least:.4g} to {most:.4g}"
                )
    if fixed:
        raise ValueError("; ".join(fixed))
