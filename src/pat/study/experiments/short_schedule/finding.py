"""What the chapter on the short schedule finds, in a sentence."""

from collections.abc import Sequence

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.short_schedule.schedules import Schedule, on_both

_RATIO = 0.5


def finding(schedules: Sequence[Schedule]) -> str:
    """When EPI could and did prune half of the bottleneck network on each schedule, and what it lost."""
    both = on_both(schedules)
    both = both[(both["ratio"] == _RATIO) & (both["policy"] == "epi")].dropna(subset=["regret"])
    texts = [text for schedule in schedules if (text := _of(schedule, both))]
    return " ".join(texts) or wording.NOT_RUN


def _of(schedule: Schedule, both: pd.DataFrame) -> str:
    name = schedule.profile.architectures[0]
    own = both[(both["schedule"] == schedule.label) & (both["architecture"] == name)]
    told = [
        f"by {criterion} {_when(part)}, losing {wording.amount(interval(part['regret']))}"
        for criterion, part in own.groupby("criterion", sort=False)
    ]
    if not told:
        return ""
    return (
        f"On {schedule.label} EPI cannot prune before {schedule.first:.0f} % of the schedule is over. Half "
        f"of `{name}` it pruned {'; '.join(told)} against the oracle ({wording.seeds([own['seed']])})."
    )


def _when(runs: pd.DataFrame) -> str:
    fired = runs[runs["triggered"].astype(bool)]
    if fired.empty:
        return "never (such runs count at a third)"
    silent = len(runs) - len(fired)
    text = f"after {fired['share'].mean():.0f} %"
    return f"{text} (in {silent} of {len(runs)} runs not at all)" if silent else text
