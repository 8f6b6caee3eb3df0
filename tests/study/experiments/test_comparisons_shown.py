"""Comparisons as chapters show them: figures, and what stands where there is little or nothing to show."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_comparisons import CELLS, PROFILE, RECORDS, REFERENCE, TABLE, WAYS, record, some
from test_statistics import Shelf
from test_wording import spaced

from pat.files import paths
from pat.rivals.initialisation import FORCE, SNIP, IterativeSNIP, SynFlow
from pat.study.experiments.comparisons.at_initialisation import AT_INITIALISATION
from pat.study.experiments.comparisons.catalogue import COMPARISONS
from pat.study.experiments.comparisons.comparison import DENSE, Comparison
from pat.study.experiments.comparisons.figures import ways_side_by_side, widths_side_by_side
from pat.study.experiments.comparisons.finding import finding
from pat.study.experiments.comparisons.networks import OTHER_NETWORKS
from pat.study.experiments.comparisons.summaries import comparison_summary, comparison_table, widths_left
from pat.study.experiments.evidence import Evidence
from pat.study.store.publishing import publish


def test_fewer_than_three_values_have_their_number_for_an_interval() -> None:
    found = comparison_summary(TABLE, "50 %", REFERENCE).set_index("way")
    assert found.loc[FORCE.title, ["test accuracy", "minus the reference", "MACs"]].tolist() == [
        "68.5 (2 values)", "−2.0 (2 values)", "40.0 (2 values)",
    ]  # fmt: skip
    one = comparison_summary(TABLE[TABLE["seed"] == 300], "50 %", REFERENCE).set_index("way")
    assert one.loc[FORCE.title, "minus the reference"] == "−1.0 (1 value)"
    lost = comparison_summary(TABLE, "80 %", REFERENCE).set_index("way")
    assert lost.loc[SynFlow.title, ["test accuracy", "MACs", "collapsed"]].tolist() == [
        "10.0 (2 values)", "–", "2 of 2",
    ]  # fmt: skip


def test_the_finding_counts_the_collapsed() -> None:
    lost = {way: [301] for way in (FORCE.title, IterativeSNIP.title)}
    lost[IterativeSNIP.title] = [300, 301]
    records = [
        made.model_copy(update={"status": "collapsed", "cost": None})
        if cell.spec.seed in lost.get(cell.way, [])
        else made
        for cell in CELLS
        for made in [record(cell)]
    ]
    text = spaced(finding(AT_INITIALISATION, Evidence(PROFILE, "full", Shelf(records))))  # type: ignore[arg-type]
    assert "FORCE loses 2.0 points [−10.7, 14.7] (or nothing) at 50 % (1 of 2 collapsed) and" in text
    assert text.endswith(
        "is iterative SNIP: it gains 1.0 points [−5.4, 7.4] (or nothing) (2 of 2 collapsed)."
    )  # none of its networks has a size


def test_the_figures_draw_what_there_is() -> None:
    whole = ways_side_by_side(AT_INITIALISATION, TABLE)
    assert len(whole.axes) == 4
    assert [text.get_text() for text in whole.axes[0].get_yticklabels()] == WAYS
    with pytest.raises(ValueError, match="at_initialisation has no run to draw"):
        ways_side_by_side(AT_INITIALISATION, TABLE.iloc[:0])
    assert isinstance(ways_side_by_side(AT_INITIALISATION, TABLE[TABLE["way"] == DENSE]), Figure)
    cells, records = some(OTHER_NETWORKS, (300,))
    several = ways_side_by_side(OTHER_NETWORKS, comparison_table(cells, records))
    assert [axis.get_visible() for axis in several.axes] == [True] * 6 + [False] * 2
    widths = widths_left(CELLS, RECORDS, "50 %")
    drawn = widths_side_by_side(widths)
    assert [text.get_text() for text in drawn.axes[0].get_xticklabels()] == WAYS[1:]
    assert isinstance(widths_side_by_side(widths_left(CELLS, [], "50 %")), Figure)


def reaches(table: pd.DataFrame) -> dict[str, list[float]]:
    """Ends of the intervals of accuracy in the first panel, by way."""
    axis = ways_side_by_side(AT_INITIALISATION, table).axes[0]
    names = [text.get_text() for text in axis.get_yticklabels()]
    bars = [bar for drawn in axis.collections for bar in drawn.get_segments()]
    return {names[round(bar[0][1])]: [float(x) for x, _ in bar] for bar in bars}


def test_intervals_are_cut_at_the_ends_of_a_percentage_and_of_three_values_or_more() -> None:
    cells, records = some(AT_INITIALISATION, (300, 301, 302))
    table = comparison_table(cells, records)
    own = (table["panel"] == "50 %") & table["way"].isin([FORCE.title, SNIP.title])
    table.loc[own & (table["way"] == FORCE.title), "accuracy"] = [10.0, 10.0, 90.0]
    table.loc[own & (table["way"] == SNIP.title), "accuracy"] = [99.0, 99.0, 60.0]
    found = reaches(table)
    assert found[FORCE.title] == pytest.approx([0, 100])  # 36.7 ± 114.7
    assert found[SNIP.title] == pytest.approx([86 - 55.935, 100], abs=0.001)
    assert found[REFERENCE] == pytest.approx([71 - 2.484, 71 + 2.484], abs=0.001)
    assert reaches(TABLE) == {}


@pytest.mark.parametrize("comparison", COMPARISONS.values(), ids=COMPARISONS)
def test_a_chapter_without_runs_has_no_figure(comparison: Comparison, tmp_path: Path) -> None:
    """The whole notebook runs: the figure would refuse."""
    publish([], tmp_path / "results")
    text = (paths.NOTEBOOKS / f"{comparison.name}.py").read_text(encoding="utf-8")
    assert text.count('store = "runs"') == 1
    empty = text.replace('store = "runs"', f"store = {str(tmp_path / 'results')!r}")
    scope: dict[str, Any] = {}
    exec(compile(empty, comparison.name, "exec"), scope)
    assert scope["found"].records == []
