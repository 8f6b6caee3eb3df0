"""What the chapter on speed finds, in a sentence."""

from collections.abc import Iterable

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.speed.statistics import cost_ratio, training_saving


def finding(evidence: Evidence) -> str:
    """What pruning by EPI saves of the training, in multiply-accumulates and in measured steps."""
    own = evidence.settings and evidence.settings.latency
    texts, behind = [], []
    for ratio in own.ratios if own else ():
        saved, cheaper = training_saving(evidence, ratio).values, cost_ratio(evidence, ratio).values
        if saved and cheaper:
            steps = training_saving(evidence, ratio, "steps").values
            measured = f" ({_share(steps.values())} of measured step time)" if steps else ""
            texts.append(
                f"{_share(saved.values())} of the dense training's multiply-accumulates{measured} at "
                f"{wording.percent(ratio)}, where training, pruning and finetuning costs "
                f"{wording.amount(interval(cheaper.values()), '', 2)} times as much"
            )
            behind.append(saved)
    if not texts:
        return wording.NOT_RUN
    return f"Pruning by EPI saves {'; '.join(texts)} ({wording.seeds(behind)})."


def _share(values: Iterable[float]) -> str:
    return wording.amount(interval(100 * value for value in values), " %", 0)
