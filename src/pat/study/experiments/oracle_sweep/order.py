"""In which order an oracle sweep tells most, for a sweep that may be cut."""

from collections.abc import Sequence

from pat.study.analysis.grid import predefined_epoch
from pat.study.analysis.picks import pick
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.runs.sweep import Order
from pat.study.store.record import Record


def seed_by_seed(specs: Sequence[Spec]) -> list[Spec]:
    """A whole oracle sweep of the first seed before any of the next."""
    return sorted(specs, key=lambda spec: spec.seed)


def most_decisive_first(profile: Profile) -> Order:
    """Criterion and ratio by criterion and ratio: at initialisation, at the pre-defined epoch, at EPI's epoch
    (whether or not it is on the grid), at the late epochs from the last one on, then at those between.

    Args:
        profile: says when "late" is, and EPI's thresholds.
    """

    def order(branches: Sequence[Spec], record: Record | None) -> list[Spec]:
        found: list[Spec] = []
        for cell in dict.fromkeys(_cell(spec) for spec in branches):
            if cell is None:
                continue
            own = {spec.prune_epoch: spec for spec in branches if _cell(spec) == cell}
            first = [profile.contrast.first]
            if record is not None and record.status == "done":
                first.append(predefined_epoch(record))
                by_epi = _by_epi(next(iter(own.values())), record, profile)
                if by_epi is not None:
                    own.setdefault(by_epi.prune_epoch, by_epi)
                    first.append(by_epi.prune_epoch or 0)
            late = sorted((e for e in own if e and e >= profile.recipe.epochs // 3), reverse=True)
            found += [own[epoch] for epoch in dict.fromkeys([*first, *late, *own]) if epoch in own]
        return found + [spec for spec in branches if spec not in found]

    return order


def _cell(spec: Spec) -> tuple[str, float] | None:
    """Criterion and ratio of a run of the oracle sweep."""
    if spec.experiment != "sweep" or spec.pruning is None or spec.prune_epoch is None:
        return None
    return spec.pruning.criterion, spec.pruning.ratio


def _by_epi(like: Spec, record: Record, profile: Profile) -> Spec | None:
    pruning = like.pruning
    if pruning is None or pruning.ratio not in profile.tracking.ratios:
        return None
    threshold = profile.tau[pruning.criterion]
    epoch = pick(record, pruning.criterion, pruning.ratio, threshold=threshold, profile=profile).epoch
    return like.model_copy(update={"pruning": pruning.model_copy(update={"policy": AtEpoch(epoch=epoch)})})
