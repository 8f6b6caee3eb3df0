"""The order of a sweep that may be cut: what decides most comes first."""

from test_analysis import watched

from pat.study.experiments.oracle_sweep.order import most_decisive_first, seed_by_seed
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.store.record import Record

SCALE = load_profile("imagenette-128")
GRID = (0, 5, 20, 30, 60, SCALE.contrast.last)


def cell(epoch: int, criterion: str = "gradient", ratio: float = 0.5) -> Spec:
    return SCALE.spec(criterion=criterion, ratio=ratio, policy=AtEpoch(epoch=epoch))  # type: ignore[arg-type]


def order(specs: list[Spec], record: Record | None) -> list[tuple[str, int | None]]:
    found = most_decisive_first(SCALE)(specs, record)
    return [(spec.pruning.criterion, spec.prune_epoch) for spec in found if spec.pruning]


def test_first_the_ends_then_what_lies_between() -> None:
    """A structure that never moves: EPI is 1 from epoch 5 on and prunes in epoch 11, beside the grid."""
    still = watched(SCALE.spec(), [(4, 8)] * 90)
    assert order([cell(epoch) for epoch in GRID], still) == [
        ("gradient", epoch) for epoch in (0, 30, 11, SCALE.contrast.last, 60, 5, 20)
    ]


def test_without_the_dense_runs_record_epi_is_not_known() -> None:
    grid = [cell(epoch) for epoch in GRID]
    assert [epoch for _, epoch in order(grid, None)] == [0, SCALE.contrast.last, 60, 30, 5, 20]
    failed = watched(SCALE.spec()).model_copy(update={"status": "failed"})
    assert order(grid, failed) == order(grid, None)


def test_cells_in_the_order_of_the_profile_and_seeds_one_after_the_other() -> None:
    specs = [cell(0), cell(5, "magnitude"), cell(5), cell(0, "magnitude")]
    assert order(specs, None) == [("gradient", 0), ("gradient", 5), ("magnitude", 0), ("magnitude", 5)]
    both = [SCALE.spec(seed=1), SCALE.spec(seed=0), *specs]
    assert [spec.seed for spec in seed_by_seed(both)] == [0, 0, 0, 0, 0, 1]
