"""What a comparison finds, in a sentence."""

import pandas as pd

from pat.study import wording
from pat.study.experiments.comparisons.comparison import Comparison, Kind, recorded
from pat.study.experiments.comparisons.summaries import comparison_table, more_than, panels_of
from pat.study.experiments.evidence import Evidence


def finding(comparison: Comparison, evidence: Evidence) -> str:
    """The ways that it tells of against its reference, in points, by panel; and the best of the others."""
    cells = comparison.cells(evidence.profile, evidence.preset)
    table = comparison_table(cells, recorded((cell.spec for cell in cells), evidence.store))
    way, called = comparison.reference
    gaps = {told: _by_panel(table, told, way) for told in comparison.told}
    texts = [
        f"{comparison.told[told]} {wording.listed(_said(table, told, own, comparison))}"
        for told, own in gaps.items()
        if own
    ]
    if not texts:
        return wording.NOT_RUN
    seeds = wording.seeds([gap.index for own in gaps.values() for gap in own.values()])
    networks = list(dict.fromkeys(cell.spec.architecture for cell in cells))
    on = f", on `{networks[0]}`" if len(networks) == 1 else ""
    return f"Against {called}{on}: {'; '.join(texts)} ({seeds}).{_best(table, comparison)}"


def _by_panel(table: pd.DataFrame, way: str, reference: str) -> dict[str, pd.Series]:
    """Where both have runs."""
    found = {panel: more_than(table, way, reference, panel) for panel in panels_of(table)}
    return {panel: gap for panel, gap in found.items() if len(gap)}


def _said(table: pd.DataFrame, way: str, gaps: dict[str, pd.Series], comparison: Comparison) -> list[str]:
    return [
        f"{wording.difference(gap, 'gains {}', 'loses {}')} {comparison.where.format(panel)}"
        f"{_collapsed(table, way, panel)}"
        for panel, gap in gaps.items()
    ]


def _collapsed(table: pd.DataFrame, way: str, panel: str) -> str:
    """How many of a way's runs in a panel lost their network; nothing where none did."""
    status = table.loc[(table["way"] == way) & (table["panel"] == panel), "status"]
    lost = int((status == "collapsed").sum())
    return f" ({lost} of {len(status)} collapsed)" if lost else ""


def _best(table: pd.DataFrame, comparison: Comparison) -> str:
    """The other method that gains most in a panel, and what it and the reference leave of the network."""
    panel, (reference, called) = comparison.best_in, comparison.reference
    others = [way for way, kind in comparison.ways.items() if kind is Kind.OTHER]
    gaps = {way: more_than(table, way, reference, panel) for way in others} if panel else {}
    known = {way: gap for way, gap in gaps.items() if len(gap)}
    if panel is None or not known:
        return ""
    best = max(known, key=lambda way: known[way].mean())
    paired = table[(table["panel"] == panel) & table["seed"].isin(known[best].index)]
    left = paired.groupby("way")["macs"].mean()
    said = wording.difference(known[best], "gains {}", "loses {}")
    size = (
        f" and leaves {left[best]:.0f} % of the multiply-accumulates, where {called} leaves "
        f"{left[reference]:.0f} %"
        if left[[best, reference]].notna().all()
        else ""
    )
    return (
        f" The best of the other methods {comparison.where.format(panel)}, picked afterwards, is {best}: it "
        f"{said}{_collapsed(table, best, panel)}{size}."
    )
