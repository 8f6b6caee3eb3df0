"""What was run: how long it took, where, and how it ended."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from pat.study.claims.verdicts import Study
from pat.study.store.rows import runs_table
from pat.study.wording import many


def hours(studies: Sequence[Study]) -> str:
    """Device-hours of the runs that claims are decided from."""
    texts = []
    for study in studies:
        seconds = sum(record.provenance.seconds for record in study.evidence.records)
        texts.append(f"{seconds / 3600:.1f} device-hours for {study.profile.name}")
    return f"Training the runs behind the verdicts took {' and '.join(texts)}, shared epochs counted once."


def cost(studies: Sequence[Study]) -> list[dict[str, str]]:
    """Time of training, on the machine that did it, by kind of run."""
    rows = []
    for study in studies:
        records, profile = study.evidence.records, study.profile
        table = runs_table(records).assign(kind=[record.spec.experiment for record in records])
        threads = f", {many(profile.threads, 'thread')}" if profile.device == "cpu" else ""
        for (hardware, kind), part in table.groupby(["hardware", "kind"], sort=True):
            rows.append(
                {
                    "Scale": study.profile.name,
                    "Runs of": str(kind),
                    "Number": str(len(part)),
                    "Device-hours": f"{part['seconds'].sum() / 3600:.2f}",
                    "Device": f"{hardware}{threads}",
                }
            )
    return rows


def runs(studies: Sequence[Study]) -> list[dict[str, str]]:
    """How many runs of each network and way of pruning there are, and how they ended."""
    rows = []
    for study in studies:
        table = runs_table(study.evidence.records)
        for (network, pruning), part in table.groupby(["architecture", "pruning"], sort=True):
            rows.append(
                {
                    "Scale": study.profile.name,
                    "Network": str(network),
                    "Pruning": str(pruning),
                    "Runs": str(len(part)),
                    "Done": _ended(part, "done"),
                    "Collapsed": _ended(part, "collapsed"),
                    "Failed": _ended(part, "failed"),
                    "Minutes of training": f"{part['seconds'].sum() / 60:.1f}",
                }
            )
    return rows


def _ended(runs: pd.DataFrame, status: str) -> str:
    return str(int((runs["status"] == status).sum()))


def environments(studies: Sequence[Study]) -> list[dict[str, str]]:
    """Each distinct environment with the number of runs it made."""
    counts: Counter[tuple[str, ...]] = Counter()
    for origin in (record.provenance for study in studies for record in study.evidence.records):
        packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
        commit = origin.commit[:12] + ("+" if origin.commit.endswith("+") else "") if origin.commit else "–"
        counts[(origin.hardware, origin.os, origin.python, packages, commit)] += 1
    names = ("Hardware", "System", "Python", "Packages", "Commit (+: with changes)")
    return [{**dict(zip(names, key, strict=True)), "Runs": str(n)} for key, n in counts.items()]
