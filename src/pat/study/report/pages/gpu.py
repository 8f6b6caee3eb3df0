"""What was measured on a GPU, as the book shows it: a scale of its own, or plainly that there is none."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from pat.study.analysis.grid import predefined_epoch
from pat.study.analysis.picks import pick
from pat.study.experiments.oracle_sweep.order import most_decisive_first
from pat.study.plan.profile import Profile, list_profiles, load_profile
from pat.study.store import AnyStore
from pat.study.store.record import Record

NONE = (
    "**No run of this book was made on a GPU.** The path for one is written, and tested on a CPU as far as "
    "that goes; nothing here says how it does on a device."
)


def facts(store: AnyStore, profiles: Sequence[Profile] | None = None) -> dict[str, Any]:
    """What the page quotes: ``summary`` is a text, ``rows`` and ``runs`` are tables, or texts without runs.

    Args:
        store: whose records.
        profiles: those that are meant for a GPU by default.
    """
    if profiles is None:
        profiles = [profile for name in list_profiles() if (profile := load_profile(name)).device == "cuda"]
    rows: list[dict[str, str]] = []
    made: list[Record] = []
    for profile in profiles:
        for dense, pruned in _sweeps(profile, store):
            made += [dense, *pruned]
            rows += _rows(profile, dense, pruned)
    if not made:
        return {"summary": NONE, "rows": "None yet.", "runs": "None yet."}
    devices = sorted({record.provenance.hardware for record in made})
    seeds = sorted({record.spec.seed for record in made})
    summary = (
        f"{len(made)} runs on {' and '.join(devices)}, of seeds {', '.join(map(str, seeds))}. They decide no "
        "claim: they show the paper's networks and schedule at a scale of their own."
    )
    return {"summary": summary, "rows": rows, "runs": [_run(record) for record in made]}


def _sweeps(profile: Profile, store: AnyStore) -> list[tuple[Record, list[Record]]]:
    """Each dense run that there is, with the pruned ones that start from it, EPI's among them."""
    blocks = [cells for sweep in profile.sweeps.values() for cells in sweep]
    found = []
    for network, seed in dict.fromkeys(
        (cells.architecture, seed) for cells in blocks for seed in cells.seeds
    ):
        dense = store.record(profile.spec(architecture=network, seed=seed))
        if dense is None or dense.result is None:
            continue
        own = [c.model_copy(update={"seeds": (seed,)}) for c in blocks if c.architecture == network]
        branches = [spec for spec in profile.grid(own) if spec.pruning is not None]
        wanted = most_decisive_first(profile)(branches, dense)
        found.append((dense, [record for spec in wanted if (record := store.record(spec)) is not None]))
    return found


def _rows(profile: Profile, dense: Record, pruned: Sequence[Record]) -> list[dict[str, str]]:
    """Test accuracy of one seed, by criterion and ratio."""
    by_cell: dict[tuple[str, float], dict[int, Record]] = {}
    for record in pruned:
        if record.spec.pruning is not None and record.spec.prune_epoch is not None:
            cell = (record.spec.pruning.criterion, record.spec.pruning.ratio)
            by_cell.setdefault(cell, {})[record.spec.prune_epoch] = record
    rows = []
    for (criterion, ratio), at in by_cell.items():
        tau = profile.tau[criterion]
        epi = pick(dense, criterion, ratio, threshold=tau, profile=profile)
        silent = "" if epi.triggered else ", silent"
        rows.append(
            {
                "Scale": profile.name,
                "Network": dense.spec.architecture,
                "Pruned": f"{criterion} {100 * ratio:g} %",
                "Seed": str(dense.spec.seed),
                "Dense": _accuracy(dense),
                "At initialisation": _accuracy(at.get(profile.contrast.first)),
                f"Pre-defined ({predefined_epoch(dense)})": _accuracy(at.get(predefined_epoch(dense))),
                "EPI (its epoch)": f"{_accuracy(at.get(epi.epoch))} ({epi.epoch}{silent})",
                f"Late ({profile.contrast.last})": _accuracy(at.get(profile.contrast.last)),
            }
        )
    return rows


def _accuracy(record: Record | None) -> str:
    return "–" if record is None or record.result is None else f"{record.result.test_accuracy:.1f}"


def _run(record: Record) -> dict[str, str]:
    spans = [epoch.seconds for epoch in record.history]
    return {
        "Run": record.spec.title,
        "Test accuracy, %": _accuracy(record),
        "Seconds per epoch": f"{mean(spans):.2f}" if spans else "–",
        "MACs left, %": "–"
        if record.cost is None
        else f"{100 * record.cost.macs / record.cost.dense_macs:.0f}",
        "Not deterministic": ", ".join(record.provenance.varying) or "–",
        "Device": record.provenance.hardware,
    }
