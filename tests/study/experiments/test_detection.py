"""Detection: what is drawn lies in its boxes, an SSD is pruned on its way, and records say what it gave."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import random_masks, roughen
from PIL import Image
from pydantic import ValidationError
from torch import Tensor, nn

pytest.importorskip("torchmetrics")

from pat import surgery
from pat.channels import trace
from pat.files.errors import DataError, MissingDataError
from pat.policy import EPI, AtEpoch
from pat.study import wording
from pat.study.experiments.detection import finding, making, records, summaries
from pat.study.experiments.detection.figures import (
    detector_indicator,
    detector_precision_by_epoch,
    detector_scenes,
)
from pat.study.experiments.detection.planned import SCALES, Run, Scale, planned
from pat.training.data.manifest import SPLITS
from pat.training.detection import voc
from pat.training.detection.examples import Example, drawn
from pat.training.detection.loop import train
from pat.training.detection.outcome import Outcome, Precision, Size
from pat.training.detection.precision import precision
from pat.training.detection.scenes import CLASSES, Drawing
from pat.training.detection.ssd import WHOLE, small_ssd, ssd300_resnet50

torch.set_num_threads(1)
SMOKE = SCALES["smoke"]
TAU = {"gradient": 0.944, "magnitude": 0.983}


class TestScenes:
    def test_all_that_is_drawn_lies_in_tight_boxes(self) -> None:
        drawing = Drawing(clutter=0, noise=0)
        for index in range(20):
            scene = drawing.scene("train", index)
            outside = scene.image.copy()
            for left, top, right, bottom in scene.boxes:
                part = scene.image[top:bottom, left:right]
                assert part.shape == (bottom - top, right - left)
                assert all(edge.any() for edge in (part[0], part[-1], part[:, 0], part[:, -1]))
                outside[top:bottom, left:right] = 0
            assert not outside.any()
            assert 1 <= len(scene.boxes) <= drawing.most
            assert len(scene.boxes) == len(scene.labels) == len(scene.sources)

    def test_boxes_stand_clear_of_each_other(self) -> None:
        for index in range(50):
            counted = np.zeros((64, 64), int)
            for left, top, right, bottom in Drawing().scene("test", index).boxes:
                counted[top:bottom, left:right] += 1
            assert counted.max() == 1

    def test_a_scene_hangs_on_settings_split_and_number_alone(self) -> None:
        one = Drawing().scene("train", 7)
        Drawing().scene("train", 8)
        again = Drawing().scene("train", 7)
        assert (one.image == again.image).all()
        assert (one.boxes == again.boxes).all()
        others = [Drawing().scene("test", 7), Drawing(seed=1).scene("train", 7), Drawing().scene("train", 8)]
        assert not any((one.image == other.image).all() for other in others)

    def test_no_source_digit_serves_two_splits(self) -> None:
        used = {
            split: {int(s) for index in range(100) for s in Drawing().scene(split, index).sources}
            for split in SPLITS
        }
        assert all(not used[a] & used[b] for a, b in (("train", "test"), ("train", "validation")))
        assert not used["validation"] & used["test"]

    def test_examples_are_what_detectors_take(self) -> None:
        image, target = drawn(Drawing(), "train", 1)[0]
        scene = Drawing().scene("train", 0)
        assert image.shape == (1, 64, 64)
        assert 0 <= image.min() < image.max() <= 1
        assert target["labels"].tolist() == [label + 1 for label in scene.labels]  # 0 is the background
        assert target["boxes"].tolist() == scene.boxes.tolist()

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"size": 20}, "size must be at least 24, got 20"),
            ({"most": 0}, "most must be at least 1, got 0"),
            ({"piece": 9}, r"piece must lie in \[1, 8\], got 9"),
            ({"least_zoom": 4}, "most_zoom must be at least 4, got 3"),
            ({"noise": -1}, "noise must be at least 0, got -1"),
        ],
    )
    def test_bad_settings(self, setting: dict[str, float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Drawing(**setting)  # type: ignore[arg-type]

    def test_bad_splits_and_numbers(self) -> None:
        with pytest.raises(ValueError, match="no scene 0 of split 'val'"):
            Drawing().scene("val", 0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no scene -1"):
            Drawing().scene("train", -1)
        with pytest.raises(ValueError, match="at least one scene is needed, got 0"):
            drawn(Drawing(), "train", 0)


class Answers(nn.Module):
    """A detector that gives what it was given."""

    def __init__(self, found: list[tuple[list[list[float]], list[float], list[int]]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.found = [
            {"boxes": torch.tensor(b), "scores": torch.tensor(s), "labels": torch.tensor(n)}
            for b, s, n in found
        ]

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert not self.training
        return self.found[: len(images)]


class TestPrecision:
    WANTED: Example = (
        torch.zeros(1, 32, 32),
        {"boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), "labels": torch.tensor([1, 1])},
    )

    def test_by_hand(self) -> None:
        """One digit is found with an overlap of 0.82, the other is missed, and a third finding is wrong.

        In order of the scores: right, wrong. Recall reaches 1/2 at a precision of 1 wherever 0.82 is enough:
        at the 101 recalls from 0 to 1 the precision is 1 up to 0.5 (51 of them), then 0. So AP is 51/101 at
        the seven overlaps from 0.5 to 0.8, and 0 at 0.85, 0.9 and 0.95.
        """
        model = Answers([([[0, 0, 10, 8.2], [0, 20, 10, 30]], [0.9, 0.5], [1, 1])]).train()
        found = precision(model, [self.WANTED])
        assert found.half == pytest.approx(100 * 51 / 101, abs=1e-3)
        assert found.mean == pytest.approx(0.7 * 100 * 51 / 101, abs=1e-3)
        assert model.training  # as it was

    def test_all_and_none(self) -> None:
        boxes = self.WANTED[1]["boxes"].tolist()
        assert precision(Answers([(boxes, [0.9, 0.8], [1, 1])]), [self.WANTED]) == Precision(100, 100)
        assert precision(Answers([(boxes, [0.9, 0.8], [2, 2])]), [self.WANTED]) == Precision(0, 0)

    def test_without_examples(self) -> None:
        with pytest.raises(ValueError, match="a precision needs examples, got none"):
            precision(Answers([]), [])


def targets(count: int, size: int) -> list[dict[str, Tensor]]:
    box = torch.tensor([[0.1, 0.1, 0.5, 0.6]]) * size
    return [{"boxes": box, "labels": torch.tensor([3])} for _ in range(count)]


class TestSSD300:
    def test_a_step_reaches_every_parameter(self) -> None:
        torch.manual_seed(0)
        model = ssd300_resnet50(20).train()
        images = [torch.rand(3, 300, 300) for _ in range(2)]
        sizes: list[tuple[int, ...]] = []
        model.backbone.register_forward_hook(
            lambda _, __, maps: sizes.extend(tuple(m.shape[2:]) for m in maps.values())
        )
        losses = model(images, targets(2, 300))
        assert sizes == [(s, s) for s in (38, 19, 10, 5, 3, 1)]
        assert set(losses) == {"bbox_regression", "classification"}
        sum(losses.values()).backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        boxes = model.anchor_generator.num_anchors_per_location()
        assert sum(n * s * s for n, s in zip(boxes, (38, 19, 10, 5, 3, 1), strict=True)) == 8732

    def test_masked_and_removed_backbones_agree(self) -> None:
        """What remains is the same function, and nothing outside the backbone has other outputs."""
        torch.manual_seed(0)
        model = ssd300_resnet50(20).eval()
        roughen(model)
        images = [torch.rand(3, 300, 300)]
        groups = trace(model, (images, targets(1, 300)), WHOLE)
        masked, removed = copy.deepcopy(model), copy.deepcopy(model)
        kept = random_masks(groups, 0.5)
        assert all(name.startswith("backbone.body.") for name in kept)
        surgery.mask(masked, kept, groups=groups)
        surgery.remove(removed, kept, groups=groups)
        with torch.no_grad():
            one, other = (m.head(list(m.backbone(images[0][None]).values())) for m in (masked, removed))
        for name in ("cls_logits", "bbox_regression"):
            assert (one[name] - other[name]).abs().max() <= 1e-4 * one[name].abs().max()
        before, after = (
            {n: m.weight.shape[0] for n, m in each.named_modules() if isinstance(m, nn.Conv2d)}
            for each in (model, removed)
        )
        changed = {name for name, size in before.items() if after[name] != size}
        assert changed
        assert all(name.startswith("backbone.body.") for name in changed)


class TestSmall:
    @pytest.mark.parametrize("size", [60, 100, 32])
    def test_bad_sizes(self, size: int) -> None:
        with pytest.raises(ValueError, match=f"a multiple of 32 from 64 on, got {size}"):
            small_ssd(CLASSES, size)

    def test_its_convolutions_keep_the_stages_resolution(self) -> None:
        maps = small_ssd(CLASSES, 64).backbone.eval()(torch.zeros(1, 1, 64, 64))
        assert [tuple(m.shape[2:]) for m in maps.values()] == [(8, 8), (4, 4), (2, 2)]


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Example]]:
    return {split: drawn(SMOKE.drawing, split, count) for split, count in SMOKE.scenes.items()}


def trained(scenes: dict[str, list[Example]], policy: EPI | AtEpoch | None) -> tuple[nn.Module, Outcome]:
    torch.manual_seed(0)
    model = small_ssd(CLASSES, SMOKE.drawing.size)
    criteria = ("gradient",) if policy else ("gradient", "magnitude")
    outcome = train(
        model,
        scenes["train"],
        scenes["validation"],
        SMOKE.recipe,
        seed=0,
        ratio=0.5,
        criteria=criteria,
        policy=policy,
    )
    return model, outcome


@pytest.fixture(scope="module")
def pruned(scenes: dict[str, list[Example]]) -> tuple[nn.Module, Outcome]:
    return trained(scenes, EPI(0.9, fallback=12))


@pytest.fixture(scope="module")
def dense(scenes: dict[str, list[Example]]) -> Outcome:
    return trained(scenes, None)[1]


class TestTraining:
    def test_it_trains_is_pruned_and_goes_on(self, pruned: tuple[nn.Module, Outcome]) -> None:
        model, outcome = pruned
        assert outcome.prune_epoch in (11, 12)
        phases = [epoch.phase for epoch in outcome.history]
        assert phases == ["dense"] * outcome.prune_epoch + ["prune"] + ["sparse"] * (13 - outcome.prune_epoch)
        assert outcome.history[-1].loss < 0.7 * outcome.history[0].loss
        assert None not in (outcome.before, outcome.after)
        assert outcome.size.macs < outcome.dense.macs
        left = outcome.history[outcome.prune_epoch].counts["gradient"]
        whole = [model.get_submodule(name) for name in outcome.layers]
        assert [layer.out_channels for layer in whole] == list(left)  # what the record says is what is left
        assert all(name.startswith("backbone.body.") for name in outcome.layers)

    def test_a_dense_training_is_the_same_up_to_the_pruning_epoch(
        self, dense: Outcome, pruned: tuple[nn.Module, Outcome]
    ) -> None:
        _, outcome = pruned
        assert dense.prune_epoch is dense.before is dense.after is None
        assert dense.size == dense.dense == outcome.dense
        for one, other in zip(dense.history[:11], outcome.history[:11], strict=True):
            assert (one.loss, one.counts["gradient"]) == (other.loss, other.counts["gradient"])
        assert set(dense.history[-1].counts) == {"gradient", "magnitude"}
        assert all(len(counts) == len(dense.layers) for e in dense.history for counts in e.counts.values())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"recipe": SMOKE.recipe.model_copy(update={"batch_size": 9})},
                "24 examples do not fill 3 slices",
            ),
            ({"recipe": SMOKE.recipe.model_copy(update={"precision": "bf16"})}, "trained in fp32, got bf16"),
            ({"criteria": ("gradient", "magnitude")}, "one criterion prunes, got gradient, magnitude"),
            ({"criteria": ()}, "one criterion prunes, got none"),
        ],
    )
    def test_bad_input(
        self, scenes: dict[str, list[Example]], change: dict[str, object], message: str
    ) -> None:
        given = {"recipe": SMOKE.recipe, "criteria": ("gradient",), **change}
        with pytest.raises(ValueError, match=message):
            train(
                small_ssd(CLASSES, 64),
                scenes["train"],
                scenes["validation"],
                seed=0,
                ratio=0.5,
                policy=AtEpoch(0),
                **given,  # type: ignore[arg-type]
            )


def voc_folder(root: Path) -> Path:
    """One image with a dog and a difficult cat, in the layout of the challenge's archives."""
    folder = root / "VOCdevkit" / "VOC2007"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (40, 30), (255, 0, 0)).save(folder / "JPEGImages" / "000001.jpg")
    things = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
        "<xmax>20</xmax><ymax>30</ymax></bndbox></object>"
        for name, difficult in (("dog", 0), ("cat", 1))
    )
    text = f"<annotation><filename>000001.jpg</filename>{things}</annotation>"
    (folder / "Annotations" / "000001.xml").write_text(text)
    (folder / "ImageSets" / "Main" / "test.txt").write_text("000001\n")
    return folder


class TestVoc:
    PART = (voc.Part("2007", "test"),)

    def test_an_image_and_its_boxes(self, tmp_path: Path) -> None:
        voc_folder(tmp_path)
        found = voc.Voc(tmp_path, self.PART)
        assert len(found) == 1
        image, target = found[0]
        assert type(image) is type(target["boxes"]) is Tensor
        assert image.shape == (3, 30, 40)
        assert image[0].min() > 0.9  # red, from 0 to 1
        assert target["boxes"].tolist() == [[0, 1, 20, 30]]  # numbers of pixels become edges
        assert target["labels"].tolist() == [12]

    def test_augmented_images_keep_to_their_boxes(self, tmp_path: Path) -> None:
        voc_folder(tmp_path)
        torch.manual_seed(0)
        for _ in range(10):
            image, target = voc.Voc(tmp_path, self.PART, augmented=True)[0]
            left, top, right, bottom = target["boxes"].unbind(1)
            assert (left < right).all()
            assert (top < bottom).all()
            assert (right <= image.shape[2]).all()
            assert (bottom <= image.shape[1]).all()

    def test_bad_input(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"VOC2007 test is not there: no file .*test\.txt"):
            voc.Voc(tmp_path, self.PART)
        folder = voc_folder(tmp_path)
        with pytest.raises(DataError, match="lists 1 images, 4952 were expected"):
            voc.Voc(tmp_path, voc.TEST)
        with pytest.raises(ValueError, match="parts are needed"):
            voc.Voc(tmp_path, ())
        with pytest.raises(IndexError, match="no image 1 of 1"):
            voc.Voc(tmp_path, self.PART)[1]
        file = folder / "Annotations" / "000001.xml"
        file.write_text(file.read_text().replace("dog", "unicorn"))
        with pytest.raises(DataError, match=r"000001.jpg has a class 'unicorn'"):
            voc.Voc(tmp_path, self.PART)[0]


class TestPlan:
    def test_the_runs_of_a_seed(self) -> None:
        titles = [run.title for run in planned(SCALES["small"], TAU, [0])]
        fixed = [f"{c}-{when}" for c in TAU for when in ("epoch-0", "epoch-30", "epoch-60", "epi")]
        assert titles == ["dense", *fixed]
        runs = planned(SCALES["small"], TAU, range(3))
        assert len({run.file for run in runs}) == len(runs) == 27

    def test_ids_hang_on_all_settings(self) -> None:
        run = planned(SMOKE, TAU, [0])[0]
        other = SMOKE.model_copy(update={"drawing": replace(SMOKE.drawing, clutter=1)})
        assert run.id != planned(other, TAU, [0])[0].id
        assert run.id == Run.model_validate(json.loads(run.model_dump_json())).id

    @pytest.mark.parametrize("given", [{"kind": "dense", "epoch": 1}, {"kind": "epi"}, {"kind": "epoch"}])
    def test_incomplete_runs(self, given: dict[str, object]) -> None:
        with pytest.raises(ValidationError, match="with the wrong criterion, epoch or threshold"):
            Run.model_validate({"scale": SMOKE, "seed": 0, **given})

    def test_bad_scales_and_thresholds(self) -> None:
        with pytest.raises(ValidationError, match=r"must lie in \[0, 14\)"):
            Scale.model_validate({**SMOKE.model_dump(), "fixed": [14]})
        with pytest.raises(ValidationError, match="train, validation and test are needed"):
            Scale.model_validate({**SMOKE.model_dump(), "scenes": {"train": 9}})
        with pytest.raises(ValueError, match="no threshold for gradient"):
            planned(SMOKE, {}, [0])


def by_hand(run: Run, outcome: Outcome, test: float, epoch: int | None) -> records.DetectionRecord:
    """A record of a run that ended with that precision."""
    own = replace(
        outcome,
        prune_epoch=epoch,
        before=None if epoch is None else Precision(30, 60),
        after=None if epoch is None else Precision(20, 50),
        validation=Precision(test, test),
    )
    where = making.provenance(seconds=60, device="cpu", command="by hand")
    return records.DetectionRecord(
        id=run.id, run=run, outcome=own, test=Precision(test, 2 * test), libraries={}, provenance=where
    )


@pytest.fixture(scope="module")
def found(dense: Outcome) -> list[records.DetectionRecord]:
    """Two seeds, in which EPI triggers once, is as good as epoch 0 in the one and better in the other."""
    scale = SMOKE.model_copy(update={"fixed": (0, 6)})
    outcome = replace(dense, size=Size(dense.dense.macs // 2, 1))
    ends = {"dense": (40, 42), "gradient-epoch-0": (30, 30), "gradient-epoch-6": (20, 32)}
    made = []
    for run in planned(scale, TAU, [0, 1]):
        epi = run.kind == "epi"
        test = (30, 36)[run.seed] if epi else ends[run.title][run.seed]
        epoch = (11, 12)[run.seed] if epi else run.epoch
        made.append(by_hand(run, outcome, test, epoch))
    return made


class TestRecords:
    def test_a_run_is_made_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = planned(SMOKE, TAU, [0])[1]
        place, said = records.folder(tmp_path), []
        assert making.make_missing([run], place, report=said.append) == 1
        assert len(said) == 1
        assert said[0].startswith("1 of 1: seed 0 gradient-epoch-0: pruned in epoch 0, mAP ")
        monkeypatch.setattr(making, "make", None)  # is not asked again
        assert making.make_missing([run], place, report=said.append) == 0
        (record,) = records.read_all(tmp_path, SMOKE)
        assert record.run == run
        assert record.outcome.prune_epoch == 0
        assert set(record.libraries) == {"torchmetrics", "pycocotools"}
        assert record.provenance.hardware
        assert records.read_all(tmp_path, SCALES["small"]) == []

    def test_changed_records_are_refused(self, tmp_path: Path, found: list[records.DetectionRecord]) -> None:
        file = records.write(found[0], tmp_path)
        assert records.read(file) == found[0]
        text = file.read_text()
        file.write_text(text.replace('"mean":40.0', '"mean":41.0'))
        with pytest.raises(ValueError, match=r"seed-000-dense-.* is damaged: its checksum does not fit"):
            records.missing([found[0].run], tmp_path)

    def test_a_record_of_another_run_is_refused(
        self, tmp_path: Path, found: list[records.DetectionRecord]
    ) -> None:
        file = records.write(found[0].model_copy(update={"id": found[1].id}), tmp_path)
        with pytest.raises(ValueError, match="its id is not its run's"):
            records.read(file)

    def test_bad_jobs(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
            making.make_missing([], tmp_path, jobs=0)


class TestTables:
    def test_without_records(self) -> None:
        assert finding.finding([]) == wording.NOT_RUN
        runs = summaries.detector_runs([])
        assert runs.empty
        detector_precision_by_epoch(runs)
        detector_indicator(summaries.detector_indicator_values([]), TAU)

    def test_the_best_fixed_epoch_is_each_seeds_own(self, found: list[records.DetectionRecord]) -> None:
        runs = summaries.detector_runs(found)
        best = runs[runs["pruned"] == summaries.BEST]
        assert best["epoch"].tolist() == [0, 6]
        assert runs["seconds"].sum() == 60 * len(found)
        against = summaries.detector_differences(runs).groupby("against")["difference"].agg(list).to_dict()
        assert against == {"epoch 0": [0, 6], "epoch 6": [10, 4], summaries.BEST: [0, 4]}

    def test_tables(self, found: list[records.DetectionRecord]) -> None:
        runs = summaries.detector_runs(found)
        table = summaries.detector_precision(runs).set_index("pruned")
        assert table.index.tolist() == ["dense", "epoch 0", "epoch 6", "EPI", summaries.BEST]
        assert table.loc["EPI", "mAP"].startswith("33.0 [")
        assert table.loc["EPI", "less than dense"].startswith("8.0 [")
        assert table.loc["EPI", "multiply-accumulates"] == "50 %"
        differences = summaries.detector_differences_table(runs)
        assert differences.loc["gradient", summaries.BEST].startswith("2.0 [")
        removal = summaries.detector_removal(runs).set_index("pruned")
        assert removal.loc["EPI", "before pruning"] == "30.0 ± 0.0"
        assert removal.loc["EPI", "after removal"] == "20.0 ± 0.0"
        (row,) = summaries.detector_triggers(found).to_dict("records")
        assert (row["threshold"], row["triggered"]) == ("0.944", "1 of 2")
        assert row["epoch"] == "11.0 (11.0 to 11.0)"

    def test_the_indicator_is_the_one_that_a_policy_sees(
        self, dense: Outcome, pruned: tuple[nn.Module, Outcome], found: list[records.DetectionRecord]
    ) -> None:
        values = summaries.detector_indicator_values(found)
        own = values[(values["seed"] == 0) & (values["epoch"] < 11)].set_index("epoch")["value"]
        seen = {e.epoch: e.epi for e in pruned[1].history if e.phase == "dense" and e.epi is not None}
        assert {e: own[e] for e in own.index} == {e: v for e, v in seen.items() if e < 11}

    def test_finding(self, found: list[records.DetectionRecord]) -> None:
        text = finding.finding(found)
        assert "loses 50 % of its filters" in text
        assert "by the gradient criterion EPI triggers in 1 of 2 runs in epoch 11.0 on average" in text
        assert "gains 2.0 points" in text
        assert "(2 seeds). Dense it reaches an mAP of 41.0 %" in text

    def test_figures(self, found: list[records.DetectionRecord]) -> None:
        assert len(detector_scenes(SMOKE.drawing, 3).axes) == 3
        precisions = detector_precision_by_epoch(summaries.detector_runs(found))
        assert [axis.get_title() for axis in precisions.axes] == ["gradient"]
        values = summaries.detector_indicator_values(found)
        (axis,) = detector_indicator(values, TAU).axes
        assert len(axis.lines) == 2 + 1
