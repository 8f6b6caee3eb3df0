"""What the chapter on other masks finds, in a sentence."""

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.tickets.statistics import variation_distance


def finding(evidence: Evidence) -> str:
    """How far other masks fall from the original's accuracy, of the same structure and of another."""
    own = evidence.settings and evidence.settings.variations
    texts, behind = [], []
    for ratio in own.ratios if own else ():
        same, other = (dict(variation_distance(evidence, ratio, kind).values) for kind in ("same", "other"))
        if same and other:
            apart = [other[seed] - same[seed] for seed in same if seed in other]
            texts.append(
                f"At {wording.percent(ratio)} the accuracy of another mask differs from the original's by "
                f"{wording.amount(interval(same.values()))} where it has the same structure and by "
                f"{wording.amount(interval(other.values()))} where it has another: another structure "
                f"{wording.difference(apart, 'adds {}', 'takes away {}')}"
            )
            behind += [same, other]
    return f"{'. '.join(texts)} ({wording.seeds(behind)})." if texts else wording.NOT_RUN
