"""The page of GPU runs: their own scale where there are some, and plainly none where there are none."""

from pathlib import Path

from test_analysis import scored, watched
from test_record import example

from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.report.pages.gpu import NONE, facts
from pat.study.store import Store
from pat.study.store.record import Record, Result

SCALE = load_profile("imagenette-128")
HALF = SCALE.model_copy(update={"sweeps": {"study": SCALE.sweeps["study"]}})  # at 50 % alone
DEVICE = "one GPU"


def cell(epoch: int) -> Spec:
    return SCALE.spec(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=epoch))


def watched_by_both(record: Record) -> Record:
    """The gradient criterion's structures under the other's name too: every run watches both."""
    history = [
        epoch.model_copy(update={"tracked": {"magnitude": epoch.tracked["gradient"], **epoch.tracked}})
        for epoch in record.history
        if epoch.tracked
    ]
    return record.model_copy(update={"history": tuple(history)})


def test_without_runs_the_page_says_so(tmp_path: Path) -> None:
    assert facts(Store(tmp_path))["summary"] == NONE


def test_a_row_has_what_decides_most(tmp_path: Path) -> None:
    """A structure that never moves: EPI prunes in epoch 11, which is not on the grid."""
    store = Store(tmp_path)
    still = watched_by_both(watched(SCALE.spec(), [(4, 8)] * 90))
    result = Result(test_accuracy=90.04, test_loss=1.0, validation_accuracy=90.0, prune_epoch=None)
    origin = example().provenance.model_copy(update={"hardware": DEVICE, "varying": ("max_pool2d_backward",)})
    made = [still.model_copy(update={"result": result})]
    made += [scored(cell(epoch), accuracy) for epoch, accuracy in ((0, 80.0), (30, 88.0), (11, 87.0))]
    for record in made:
        store.write(record.model_copy(update={"provenance": origin}))
    found = facts(store, [HALF])
    assert found["summary"].startswith(f"4 runs on {DEVICE}, of seeds 0.")
    (row,) = found["rows"]
    assert row == {
        "Scale": "imagenette-128", "Network": "resnet50", "Pruned": "gradient 50 %", "Seed": "0",
        "Dense": "90.0", "At initialisation": "80.0", "Pre-defined (30)": "88.0",
        "EPI (its epoch)": "87.0 (11)", "Late (80)": "–",
    }  # fmt: skip
    assert [run["Run"] for run in found["runs"]] == [made[i].spec.title for i in (0, 1, 2, 3)]
    assert {run["Not deterministic"] for run in found["runs"]} == {"max_pool2d_backward"}
