"""What the chapter on lottery tickets finds, in a sentence."""

from pat.study import wording
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.tickets.statistics import ticket_difference


def finding(evidence: Evidence) -> str:
    """Pruning in training against its mask on the first weights."""
    own = evidence.settings and evidence.settings.tickets
    if not own or not own.rewind:
        return wording.NOT_RUN
    rewind = min(own.rewind)
    found = {ratio: dict(ticket_difference(evidence, ratio, rewind).values) for ratio in own.ratios}
    texts = [
        f"at {wording.percent(ratio)} {wording.difference(values.values(), 'gains {}', 'loses {}')}"
        for ratio, values in found.items()
        if values
    ]
    if not texts:
        return wording.NOT_RUN
    return (
        f"Pruning `{evidence.architecture('bottleneck')}` in epoch {evidence.profile.contrast.reference} "
        f"and going on, instead of training the same sub-network from {_weights(rewind)}, "
        f"{wording.listed(texts)} "
        f"({wording.seeds(values for values in found.values() if values)})."
    )


def _weights(rewind: int) -> str:
    return f"its weights after epoch {rewind}" if rewind else "its initial weights"
