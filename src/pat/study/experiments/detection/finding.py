"""What the chapter on detection finds, in a sentence."""

from collections.abc import Sequence

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.detection.records import DetectionRecord
from pat.study.experiments.detection.summaries import BEST, detector_differences, detector_runs


def finding(records: Sequence[DetectionRecord]) -> str:
    """Whether EPI triggers with the thresholds of classification, and what that loses."""
    if not any(record.run.kind == "epi" for record in records):
        return wording.NOT_RUN
    table = detector_runs(records)
    differences = detector_differences(table)
    texts = []
    for criterion, runs in table[table["pruned"] == "EPI"].groupby("criterion", sort=False):
        against = differences[(differences["criterion"] == criterion) & (differences["against"] == BEST)]
        texts.append(_of(str(criterion), runs["epoch"][runs["triggered"]].tolist(), len(runs), against))
    dense = table.loc[table["pruned"] == "dense", "test"]
    whole = f" Dense it reaches an mAP of {wording.amount(interval(dense), ' %')}." if len(dense) else ""
    ratio = wording.percent(records[0].run.scale.ratio)
    seeds = wording.many(table["seed"].nunique(), "seed")
    return (
        f"An SSD on drawn scenes whose backbone loses {ratio} of its filters, with the thresholds that "
        f"classification gave: {'; '.join(texts)} ({seeds}).{whole}"
    )


def _of(criterion: str, epochs: list[float], runs: int, against: pd.DataFrame) -> str:
    when = f" in epoch {sum(epochs) / len(epochs):.1f} on average" if epochs else ""
    text = f"by the {criterion} criterion EPI triggers in {len(epochs)} of {runs} runs{when}"
    if against.empty:
        return text
    lost = wording.difference(
        against["difference"],
        "gains {} of mAP on the best fixed epoch",
        "loses {} of mAP to the best fixed epoch",
    )
    return f"{text} and {lost}"
