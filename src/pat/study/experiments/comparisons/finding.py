"""What a comparison finds, in a sentence."""

import pandas as pd

from pat.study import wording
from pat.study.experiments.comparisons.comparison import Comparison, recorded
from pat.study.experiments.comparisons.summaries import comparison_table, more_than, panels_of
from pat.study.experiments.evidence import Evidence


def finding(comparison: Comparison, evidence: Evidence) -> str:
    """The ways that it tells of against its reference, in points, by panel."""
    cells = comparison.cells(evidence.profile, evidence.preset)
    table = comparison_table(cells, recorded((cell.spec for cell in cells), evidence.store))
    way, called = comparison.reference
    gaps = {told: _by_panel(table, told, way) for told in comparison.told}
    texts = [
        f"{comparison.told[told]} {wording.listed(_said(own, comparison))}"
        for told, own in gaps.items()
        if own
    ]
    if not texts:
        return wording.NOT_RUN
    seeds = wording.seeds([gap.index for own in gaps.values() for gap in own.values()])
    networks = list(dict.fromkeys(cell.spec.architecture for cell in cells))
    on = f", on `{networks[0]}`" if len(networks) == 1 else ""
    return f"Against {called}{on}: {'; '.join(texts)} ({seeds})."


def _by_panel(table: pd.DataFrame, way: str, reference: str) -> dict[str, pd.Series]:
    """Where both have runs."""
    found = {panel: more_than(table, way, reference, panel) for panel in panels_of(table)}
    return {panel: gap for panel, gap in found.items() if len(gap)}


def _said(gaps: dict[str, pd.Series], comparison: Comparison) -> list[str]:
    return [
        f"{wording.difference(gap, 'gains {}', 'loses {}')} {comparison.where.format(panel)}"
        for panel, gap in gaps.items()
    ]
