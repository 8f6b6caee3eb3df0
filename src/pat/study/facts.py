"""Facts: the numbers of the book's prose, from records into ``book/_generated/results.json``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pat import paths
from pat.checkpoint import write_whole
from pat.study import analysis
from pat.study.profile import Profile, load_profile
from pat.study.record import Record
from pat.study.store import open_store

OUTPUT = Path("_generated") / "results.json"
"""Below the book's folder."""

_SHOWN = ("50 %", "80 %")  # ratios whose EPI epochs the front page quotes; the chapter has all


def facts(records: Sequence[Record], profile: Profile) -> dict[str, Any]:
    """What the pages quote.

    Args:
        records: the profile's runs.
        profile: their scale.

    Returns:
        ``scale`` (text), ``findings``, ``runs`` and ``environment`` (rows of tables).

    Raises:
        ValueError: if there is no run.
    """
    if not records:
        raise ValueError(f"no run of profile {profile.name!r} to take facts from")
    table = analysis.runs_table(records)
    return {
        "scale": _scale(table, profile),
        "findings": _findings(records, table, profile),
        "runs": _runs(table),
        "environment": _environment(records),
    }


def _scale(table: pd.DataFrame, profile: Profile) -> str:
    return (
        f"The runs behind these pages are of the profile **{profile.name}**: {profile.title}; networks "
        f"{', '.join(table['architecture'].unique())}; {profile.recipe.epochs} epochs; "
        f"{table['seed'].nunique()} seeds; {len(table)} runs. {profile.purpose} The paper trained ResNet34, "
        "ResNet50 and MobileNetV1 on ImageNet for 90 epochs. **No number here is the paper's, or comparable "
        "with it in size; shapes and signs are what can be compared.** The table is about "
        f"{profile.architectures[0]}, the counterpart of the paper's ResNet50. It gives estimates and no "
        "verdicts: each interval is at 95 % by itself, and with so many rows one of them may well miss."
    )


def _findings(records: Sequence[Record], table: pd.DataFrame, profile: Profile) -> list[dict[str, str]]:
    """Estimates for the profile's first network, the counterpart of the paper's ResNet50."""
    network = profile.architectures[0]
    own = [record for record in records if record.spec.architecture == network]
    sweep = f"[Oracle sweep](executed/{profile.name}/oracle_sweep.ipynb)"
    stability = f"[Structure stability](executed/{profile.name}/structure_stability.ipynb)"
    contrast = profile.contrast
    effects = analysis.contrasts(table[table["architecture"] == network], contrast)
    rows = []
    for statement, wanted, epoch in (
        ("Pruning at initialisation is worse than a few epochs later (Sec. 4.1)", "first", contrast.first),
        ("Pruning late costs accuracy (Sec. 4.1, Fig. 3)", "last", contrast.last),
    ):
        for _, pruning, side, by in effects:
            if side == wanted:
                text = f"p = {epoch} against p = {contrast.reference}: {by.text()} points"
                rows.append(_row(statement, pruning, text, by.n, sweep))
    rows += _epi_findings(own, profile, stability)
    agreement = analysis.one_shot_similarity(own)
    for what, part in agreement.groupby("pruning", sort=True):
        # A seed's runs share their dense epochs: one value a seed, its mean over the pruning epochs.
        found = analysis.interval(part.groupby("seed")["psi"].mean())
        text = f"Ψ = {found.text(2)}"
        statement = "The structure that EPI watches is the one that Algorithm 1 leaves (implied)"
        rows.append(_row(statement, str(what), text, found.n, stability))
    return rows


def _epi_findings(records: Sequence[Record], profile: Profile, link: str) -> list[dict[str, str]]:
    rows = []
    stability = analysis.stability_table(records)
    for criterion, part in analysis.epi_against_ratio(stability).groupby("criterion"):
        found = analysis.interval(part["rho"])
        text = f"rank correlation of EPI with the ratio {found.text(2)}"
        statement = "EPI falls as the pruning ratio rises (Sec. 4.5, Fig. 6)"
        rows.append(_row(statement, f"{criterion}, all ratios", text, found.n, link))
    for row in analysis.epi_epochs(records, profile).to_dict("records"):
        if row["ratio"] in _SHOWN:
            text = f"prunes in epoch {row['epochs']} of {profile.recipe.epochs} (one a seed; – never)"
            statement = "With its published threshold, EPI finds an early epoch by itself (Sec. 4.2)"
            what = f"{row['criterion']} {row['ratio']}"
            rows.append(_row(statement, what, text, row["epochs"].count(",") + 1, link))
    return rows


def _row(statement: str, what: str, measured: str, n: int, link: str) -> dict[str, str]:
    return {
        "The paper says": statement,
        "Pruning": what,
        "Measured here [95 % interval]": measured,
        "n": str(n),
        "Chapter": link,
    }


def _runs(table: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for (network, pruning), part in table.groupby(["architecture", "pruning"], sort=True):
        rows.append(
            {
                "Network": str(network),
                "Pruning": str(pruning),
                "Runs": str(len(part)),
                "Done": str(int((part["status"] == "done").sum())),
                "Collapsed": str(int((part["status"] == "collapsed").sum())),
                "Failed": str(int((part["status"] == "failed").sum())),
                "Minutes of training": f"{part['seconds'].sum() / 60:.1f}",
            }
        )
    return rows


def _environment(records: Sequence[Record]) -> list[dict[str, str]]:
    """Each distinct environment with the number of runs it made."""
    counts: dict[tuple[str, ...], int] = {}
    for record in records:
        origin = record.provenance
        packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
        commit = origin.commit[:12] + ("+" if origin.commit.endswith("+") else "") if origin.commit else "–"
        key = (origin.hardware, origin.os, origin.python, packages, commit)
        counts[key] = counts.get(key, 0) + 1
    names = ("Hardware", "System", "Python", "Packages", "Commit (+: with changes)")
    return [{**dict(zip(names, key, strict=True)), "Runs": str(n)} for key, n in counts.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the book's facts: ``python -m pat.study.facts --profile digits --store runs``."""
    parser = argparse.ArgumentParser(prog="python -m pat.study.facts", description=main.__doc__)
    parser.add_argument("--profile", default="digits", help="whose runs")
    parser.add_argument("--preset", default="study", help="which sweep of the profile")
    parser.add_argument("--store", default=str(paths.STORE), help="folder of the runs")
    parser.add_argument("--book", type=Path, default=paths.BOOK, help="folder of the book")
    options = parser.parse_args(arguments)
    try:
        profile = load_profile(options.profile)
        store = open_store(options.store)
        found = [store.record(spec) for spec in profile.sweep(options.preset)]
        content = facts([record for record in found if record is not None], profile)
    except ValueError as error:
        print(f"facts: {error}", file=sys.stderr)
        return 2
    write_whole(options.book / OUTPUT, (json.dumps(content, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
