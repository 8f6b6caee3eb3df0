"""The audit of the paper's arithmetic: numbers worked by hand, and verdicts that can turn out otherwise."""

import inspect
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from pat.files.paths import BOOK
from pat.stability import EarlyPruningIndicator
from pat.study import audit
from pat.study.audit import Check, Paper, Printed, Span, accuracies, algorithms, derived, expense
from pat.study.paper import networks


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return audit.checks()


@pytest.fixture
def content() -> dict[str, Any]:
    """The paper's values, to be changed."""
    text = (BOOK / "paper_values.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return found


def one(checks: list[Check], *words: str) -> Check:
    """The one check whose place and quantity have all the words."""
    found = [c for c in checks if all(word in f"{c.where} | {c.quantity}" for word in words)]
    assert len(found) == 1, [f"{c.where} | {c.quantity}" for c in found]
    return found[0]


def value(check: Check) -> float:
    assert check.found is not None
    return check.found.value


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "decimals", "low", "high"),
        [("73.50", 2, 73.495, 73.505), ("30", 0, 29.5, 30.5), ("-0.5", 1, -0.55, -0.45)],
    )
    def test_rounding_of_the_last_digit(self, text: str, decimals: int, low: float, high: float) -> None:
        number = Printed(text)
        assert number.decimals == decimals
        assert (number.span.low, number.span.high) == pytest.approx((low, high))

    @pytest.mark.parametrize("text", ["73,5", "", "nan", "none"])
    def test_what_is_no_number(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected a number of the paper, got"):
            Printed(text)

    def test_a_quotient_takes_its_ends_from_the_corners(self) -> None:
        found = derived(lambda a, b: a / b, Printed("6"), Printed("2.0"))
        assert found == Span(3, pytest.approx(5.5 / 2.05), pytest.approx(6.5 / 1.95))  # type: ignore[arg-type]

    def test_intervals_that_only_touch_do_not_meet(self) -> None:
        # 1.46 of two numbers with two decimals is 1.45 at least, which rounds to 1.5.
        difference = derived(lambda a, b: a - b, Printed("77.69"), Printed("76.23"))
        assert not difference.meets(Printed("1.4").span)
        assert difference.meets(Printed("1.5").span)
        assert Span.exact(2).meets(Span(2, 1, 2))

    def test_inside_is_strict(self) -> None:
        assert Span(1, 0.5, 2).inside(Span.above(0))
        assert not Span(1, 0, 2).inside(Span.above(0))

    def test_digits_survive_reading(self) -> None:
        paper = Paper.read()
        assert paper.number("table2.resnet34.PaT.top1").text == "73.50"
        assert paper.optional("table1.magnitude.mobilenet_v1.init") is None

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("table1.magnitude.vgg.init", "leads nowhere in the paper's values: no 'vgg'"),
            ("table1.magnitude", "expected a number of the paper at 'table1.magnitude'"),
            ("setup.dataset", "got 'ILSVRC2012' at 'setup.dataset'"),
            ("epi.r", "the paper prints nothing at 'epi.r'"),
        ],
    )
    def test_paths_to_no_number(self, path: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Paper.read().number(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"paper_values\.yaml"):
            Paper.read(tmp_path)
        with pytest.raises(ValueError, match=r"networks\.yaml"):
            audit.read_networks(tmp_path)
        (tmp_path / "networks.yaml").write_text("networks: {resnet50: {macs: 1}}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"not as python -m pat\.study\.audit writes it"):
            audit.read_networks(tmp_path)


def check(expected: Span | None, found: Span | None, other: Span | None = None) -> Check:
    return Check("part", "where", "what", "printed", expected, "inputs", found, "follows", other)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("expected", "found", "other", "verdict"),
        [
            (Printed("13.8").span, Span.exact(13.84), None, "comes out"),
            (Printed("13.8").span, Span.exact(13.86), None, "does not come out"),
            (Printed("13.8").span, Span.exact(8.84), Span.exact(13.84), "only with another input"),
            (Printed("13.8").span, Span.exact(8.84), Span.exact(8.85), "does not come out"),
            (Printed("13.8").span, Span(13.7, 13.6, 13.76), None, "comes out"),
            (Printed("13.8").span, None, None, "cannot be recomputed"),
            (None, Span.exact(1), None, "implied"),
            (Span.above(0), Span(0.04, 0.03, 0.05), None, "comes out"),
            (Span.above(0), Span(0.0, -0.001, 0.001), None, "does not come out"),
        ],
    )
    def test_by_hand(
        self, expected: Span | None, found: Span | None, other: Span | None, verdict: str
    ) -> None:
        assert check(expected, found, other).verdict == verdict

    def test_texts(self) -> None:
        shown = Check(
            part="p", where="w", quantity="q", printed="13", expected=None, inputs="i", found=Span(-1, -2, 3),
            follows="f", other=Span.exact(13), other_inputs="as points", decimals=1, interval=True, unit="%",
        )  # fmt: skip
        assert shown.recomputed == "−1.0 [−2.0, 3.0] %; 13.0 [13.0, 13.0] % as points"
        assert check(None, None).recomputed == "–"


class TestTable1:
    def test_overall_rows_are_plain_means(self, checks: list[Check]) -> None:
        overall = [c for c in checks if c.where.endswith(", overall") and "minus" not in c.quantity]
        assert [round(value(c), 4) for c in overall] == [
            *(2.4973, 2.221, 0.201, 0.1317),
            *(0.4257, 1.0153, 0.1993, 0.155),
        ]
        assert {c.verdict for c in overall} == {"comes out"}

    def test_the_missing_cell_turns_the_order_round(self, checks: list[Check]) -> None:
        found = one(checks, "magnitude, overall", "random minus initialisation")
        assert value(found) == pytest.approx((0.940 + 0.267) / 2 - (3.604 + 0.838) / 2)
        assert found.other is not None
        assert found.other.value == pytest.approx(0.276)
        assert found.verdict == "only with another input"

    def test_random_is_better_than_epi_in_two_cells(self, checks: list[Check]) -> None:
        cells = {c.where: c for c in checks if c.quantity == "random minus EPI"}
        assert len(cells) == 6
        failed = {where: value(c) for where, c in cells.items() if c.verdict == "does not come out"}
        assert failed == {
            "Table 1, gradient, ResNet34; Sec. 4.2": pytest.approx(-0.042),
            "Table 1, gradient, MobileNetV1; Sec. 4.2": pytest.approx(-0.046),
        }

    def test_without_the_network_of_the_tuning(self, checks: list[Check]) -> None:
        gradient = one(checks, "gradient", "without ResNet50")
        assert value(gradient) == pytest.approx((0.153 + 0.132) / 2 - (0.195 + 0.178) / 2)
        assert gradient.verdict == "does not come out"
        assert "3 of 3" in gradient.follows
        magnitude = one(checks, "magnitude", "without ResNet50")  # initialisation has no mean there
        assert value(magnitude) == pytest.approx((0.353 + 0.135) / 2 - (0.169 + 0.135) / 2)
        assert magnitude.verdict == "comes out"

    def test_failed_epochs(self, checks: list[Check]) -> None:
        assert value(one(checks, "fail entirely")) == pytest.approx(6.285 * 31 / 72.93)

    def test_another_mean_would_be_found(self, content: dict[str, Any]) -> None:
        content["table1"]["gradient"]["overall"]["epi"] = "0.165"
        found = [c for c in audit.policies.checks(Paper(content)) if c.where == "Table 1, gradient, overall"]
        assert [c.verdict for c in found] == [*["comes out"] * 3, "does not come out"]

    def test_losses_leave_the_dash_out(self) -> None:
        table = audit.losses(Paper.read())
        assert len(table) == 23
        row = table.query("criterion == 'gradient' and network == 'ResNet34' and policy == 'epi'")
        assert row["loss"].tolist() == [0.195]


class TestTable2:
    @pytest.mark.parametrize(
        ("row", "own", "with_resnet50"),
        [
            ("ResNet34, GPWP", (1 - 3.087 / 3.671) * 50 / 90, (1 - 3.087 / 4.111) * 50 / 90),
            ("ResNet34, PaT", (1 - 2.911 / 3.671) * 79 / 90, (1 - 2.911 / 4.111) * 79 / 90),
        ],
    )
    def test_resnet34_rows(self, checks: list[Check], row: str, own: float, with_resnet50: float) -> None:
        found = [c for c in checks if c.where == f"Table 2, {row}"]
        assert [c.verdict for c in found] == ["only with another input"]
        assert found[0].other is not None
        assert value(found[0]) == pytest.approx(100 * own, abs=0.02)
        assert found[0].other.value == pytest.approx(100 * with_resnet50, abs=0.02)

    @pytest.mark.parametrize(("method", "saved"), [("LFPC", 37.15), ("PaT", 50.28)])
    def test_resnet50_rows(self, checks: list[Check], method: str, saved: float) -> None:
        found = next(c for c in checks if c.where == f"Table 2, ResNet50, {method}")
        assert value(found) == pytest.approx(saved, abs=0.01)
        assert found.verdict == "comes out"

    def test_prunetrain(self, checks: list[Check]) -> None:
        missing, start = (c for c in checks if c.where == "Table 2, ResNet50, PruneTrain")
        assert missing.verdict == "cannot be recomputed"
        # (1 - 2.303/4.1114) (90 - t) / 90 = 0.3
        assert value(start) == pytest.approx(90 * (1 - 0.3 / 0.43985), abs=0.01)

    def test_one_dense_cost_fits_all_rows_and_it_is_resnet50s(self, checks: list[Check]) -> None:
        found = one(checks, "Table 2", "fits all rows").found
        assert found is not None
        measured = audit.read_networks()
        assert found.low < measured["resnet50"].gflops < found.high
        assert not found.low < measured["resnet50"].macs / 1e9 < found.high
        assert not found.low < measured["resnet34"].gflops < found.high

    def test_implied_cost_is_the_inverse(self) -> None:
        implied = audit.implied_costs(Paper.read())
        assert list(implied) == ["ResNet34, GPWP", "ResNet34, PaT", "ResNet50, LFPC", "ResNet50, PaT"]
        # 0.503 = (1 - 1.695 / F) 77 / 90
        assert implied["ResNet50, PaT"].value == pytest.approx(1.695 / (1 - 0.503 * 90 / 77))

    def test_prose(self, checks: list[Check]) -> None:
        more = one(checks, "Sec. 4.4", "LFPC needs more")
        assert value(more) == pytest.approx(100 * (62.8 / 49.7 - 1))
        assert more.other is not None
        assert more.other.value == pytest.approx(13.1)
        assert more.verdict == "only with another input"
        assert one(checks, "Sec. 4.4", "LFPC loses more").verdict == "comes out"
        gap = one(checks, "Sec. 4.4", "PaT's saving minus GPWP's")
        assert (round(value(gap), 1), gap.verdict) == (9.3, "only with another input")

    def test_the_pruning_epoch_at_the_dense_cost(self, checks: list[Check]) -> None:
        found = one(checks, "Table 2, ResNet50, PaT", "pruning epoch itself")
        assert value(found) == pytest.approx(100 * (1 - 1.695 / 4.1114) * 76 / 90, abs=0.01)


class TestExpense:
    def test_prices(self, checks: list[Check]) -> None:
        section = [
            c for c in checks if c.part == expense.PART and c.where in ("Sec. 4.3", "Abstract; Sec. 4.3")
        ]
        assert [round(value(c), 3) for c in section] == [154, 2.364, 1.429, 0.935, 0.655, 11.842]
        assert [c.verdict for c in section] == [*["comes out"] * 2, *["implied"] * 4]

    def test_start_epoch_is_consistent(self) -> None:
        sparse = expense.sparse_epoch(220, 364)
        start = expense.start_epoch(0.30, 220, 364, 90)
        assert (start + (90 - start) * sparse) / 90 == pytest.approx(0.70)

    def test_orders_of_magnitude(self, checks: list[Check]) -> None:
        found = one(checks, "grid search")
        assert value(found) == pytest.approx(math.log10(31))
        assert found.verdict == "does not come out"

    def test_time_beside_flops(self, checks: list[Check]) -> None:
        assert value(one(checks, "time saved at 50 %")) == pytest.approx(30 / 50.3)
        assert value(one(checks, "at 40 %, by FLOPs")) == pytest.approx(1.695 / 4.1114, abs=1e-4)


class TestAccuracies:
    def test_no_pair_of_one_table_gives_the_abstracts_gain(self, checks: list[Check]) -> None:
        # One pair in ResNet34's rows of Table 2, three in ResNet50's, 36 of the nine cells of Table 3.
        pairs = [where for where, _, _ in accuracies.differences(Paper.read())]
        assert (pairs.count("Table 2"), pairs.count("Table 3")) == (1 + 3, 36)
        found = one(checks, "Abstract", "state-of-the-art")
        assert value(found) == pytest.approx(77.69 - 76.23)
        assert found.verdict == "does not come out"
        # 76.23 - 74.85 and 76.18 - 74.73 (1.44 to 1.46) compare the two tables.
        assert "2 pairs" in found.follows

    def test_a_gain_that_is_there_would_be_found(self, content: dict[str, Any]) -> None:
        content["table2"]["resnet50"]["PaT"]["top1"] = "75.58"  # LFPC + 1.40
        found = one(accuracies.checks(Paper(content)), "Abstract", "state-of-the-art")
        assert found.verdict == "comes out"

    def test_gains_of_table_3(self, checks: list[Check]) -> None:
        gains = [round(value(c), 2) for c in checks if c.quantity.startswith("EPI minus post-trained")]
        assert gains == [0.52, 0.04, 0.05, 0.57, 0.05, 0.37]
        assert value(one(checks, "gains of PaT on ResNet50")) == 4  # 0.12, 0.04, 0.05, 0.05 below 0.36

    def test_means_of_section_4_5(self, checks: list[Check]) -> None:
        same, other = with_moments(0.36, 0.13, 10), with_moments(0.53, 0.39, 5)
        interval = stats.ttest_ind(other, same, equal_var=False).confidence_interval(0.95)
        found = one(checks, "Sec. 4.5", "mean difference").found
        assert found is not None
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        alone = stats.ttest_1samp(same, 0).confidence_interval(0.95)
        found = one(checks, "Sec. 4.5", "with other neurons").found
        assert found is not None
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))

    def test_spreads_of_section_4_5(self, checks: list[Check]) -> None:
        found = one(checks, "Sec. 4.5", "spread of other structures")
        assert found.found is not None
        # 97.5 % points of F from printed tables: F(4, 9) 4.718, F(9, 4) 8.905.
        assert found.found.low == pytest.approx(3 / math.sqrt(4.718), abs=1e-3)
        assert found.found.high == pytest.approx(3 * math.sqrt(8.905), abs=1e-3)
        assert found.verdict == "comes out"


def with_moments(mean: float, std: float, n: int) -> Any:
    """A sample with exactly this mean and standard deviation."""
    raw = np.arange(n, dtype=float)
    return mean + std * (raw - raw.mean()) / raw.std(ddof=1)


class TestAlgorithms:
    @pytest.mark.parametrize(("pruned", "wanted"), [([2, 5, 9], 9), ([4], 4)])
    def test_the_loop_runs_once_too_often(self, pruned: list[int], wanted: int) -> None:
        assert algorithms.steps_begun(pruned, wanted, lambda p, w: p <= w) == len(pruned) + 1
        assert algorithms.steps_begun(pruned, wanted, lambda p, w: p < w) == len(pruned)

    def test_loops(self, checks: list[Check]) -> None:
        steps, epochs = one(checks, "Algorithm 1, line 2"), one(checks, "Algorithm 2, line 3")
        assert (value(steps), steps.verdict) == (algorithms.STEPS + 1, "only with another input")
        assert (value(epochs), epochs.verdict) == (91, "only with another input")

    def test_earliest_pruning_epoch_is_the_indicators(self, checks: list[Check]) -> None:
        defaults = inspect.signature(EarlyPruningIndicator).parameters
        assert defaults["look_back"].default == algorithms.LOOK_BACK
        indicator = EarlyPruningIndicator(0.5)
        while not indicator.triggered:
            indicator.update([4, 4])
        assert indicator.trigger_epoch is not None
        found = one(checks, "earliest possible")
        assert value(found) == indicator.trigger_epoch + 1 == 11
        assert found.verdict == "comes out"
        assert value(one(checks, "largest look-back")) == 5

    @pytest.mark.parametrize(
        ("criterion", "tau", "layers"),
        [("magnitude", 0.983, (0.884, 0.544, 0.425)), ("gradient", 0.944, (2.912, 1.792, 1.4))],
    )
    def test_layers_that_may_empty(
        self, checks: list[Check], criterion: str, tau: float, layers: tuple[float, ...]
    ) -> None:
        measured = audit.read_networks()
        for (name, label), allowed in zip(audit.LABELS.items(), layers, strict=True):
            found = value(one(checks, "Eq. 5", f"{criterion}, {label}", "may empty"))
            assert found == pytest.approx(allowed)
            for emptied in range(4):  # the indicator itself, on structures at rest but for these layers
                indicator = EarlyPruningIndicator(tau)
                for _ in range(5):
                    indicator.update([8] * measured[name].layers)
                epi = indicator.update([0] * emptied + [8] * (measured[name].layers - emptied))
                assert epi is not None
                assert (epi >= tau) == (emptied <= found)


class TestNetworks:
    @pytest.mark.parametrize("name", list(networks.LABELS))
    def test_the_file_is_what_is_measured(self, name: str) -> None:
        assert audit.read_networks()[name] == networks.measure(name)

    def test_costs_as_other_tools_count_them(self) -> None:
        found = audit.read_networks()
        assert [round(found[name].gflops, 3) for name in ("resnet50", "resnet34")] == [4.111, 3.671]

    def test_layers_by_hand(self) -> None:
        """53, 36 and 27 convolutions less the stem's group: ResNet34's runs through its first stage."""
        layers = [network.layers for network in audit.read_networks().values()]
        assert layers == [53 - 1, 36 - 1 - 3, 27 - 2]

    def test_an_unknown_network(self) -> None:
        with pytest.raises(ValueError, match="unknown network 'vgg'; known are resnet50"):
            networks.measure("vgg")

    def test_written_and_read_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        known = audit.read_networks()
        monkeypatch.setattr(networks, "measure", known.__getitem__)
        networks.write_networks(tmp_path)
        assert audit.read_networks(tmp_path) == known
        date, packages = networks.read_provenance(tmp_path)
        assert len(date) == 10
        assert set(packages) == {"torch", "torchvision", "timm"}


class TestReport:
    def test_every_check_has_its_row(self, checks: list[Check]) -> None:
        assert tuple(dict.fromkeys(c.part for c in checks)) == audit.PARTS
        assert sum(audit.table(checks, part).count("<tr>") - 1 for part in audit.PARTS) == len(checks)
        with pytest.raises(ValueError, match="no check of 'Table 9'; known sections: 'Table 1: policies'"):
            audit.table(checks, "Table 9")

    def test_cells_are_escaped_and_carry_their_heads(self) -> None:
        odd = Check("p", "a & b", "|P| < n", "", None, "i", Span.exact(1), "f")
        html = audit.table([odd], "p")
        assert '<td data-head="What">|P| &lt; n<br><span class="where">a &amp; b</span></td>' in html
        assert '<td data-head="Verdict">–</td>' in html

    def test_tally_adds_up(self, checks: list[Check]) -> None:
        last = audit.tally(checks).rsplit("<tr>", 1)[1]
        counted = [sum(c.verdict == v for c in checks) for v in audit.VERDICTS if v != "implied"]
        assert re.findall(r">(\d+)</td>", last) == [str(n) for n in counted]

    def test_summary_names_what_does_not_come_out(self, checks: list[Check]) -> None:
        lines = audit.summary(checks).splitlines()
        assert len(lines) == sum(c.verdict not in ("comes out", "implied") for c in checks)
        assert any(line.startswith("- **Gain over state-of-the-art pruning**") for line in lines)
        assert audit.summary([]) == "Everything that is printed comes out."

    def test_untested_claims(self, tmp_path: Path) -> None:
        claims = yaml.safe_load((BOOK / "claims.yaml").read_text(encoding="utf-8"))["claims"]
        html = audit.untested()
        own = [claim for claim in claims if claim["chapter"] == "audit"]
        assert html.count("<tr>") == 1 + len(own) > 1
        assert "<code>imagenet</code>" in html
        (tmp_path / "claims.yaml").write_text("level: 0.05\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"claims\.yaml: expected claims"):
            audit.untested(tmp_path)


def test_the_audit_needs_no_torch() -> None:
    code = "import sys; from pat.study import audit; audit.checks(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
