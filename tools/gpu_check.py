"""A check of an accelerator's path in a minute: decisions as a CPU's, and what only a device can show.

Every check runs, whatever the others gave; the exit code is 1 if one failed. With `--device cpu` the CPU is
held against itself, so that the script is tested where there is no accelerator.
"""

import argparse
import copy
import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pat import surgery
from pat.channels import trace
from pat.importance import magnitude_scores
from pat.stability import similarity
from pat.structure import kept_count, top_channels
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.runs.budget import OutOfTime, deadline_in
from pat.study.runs.building import build_trainer, open_data
from pat.study.runs.run import run
from pat.study.runs.watcher import SILENT
from pat.study.store import Store
from pat.study.store.record import Record
from pat.training import models
from pat.training.repeatable import repeatable

PRUNE = 2
CLOSE = {"similarity": 0.9, "points": 10.0, "relative": 2e-3}
"""How near another device comes, whose sums round differently: structures after two epochs of training,
accuracy in points, and outputs of one network."""


def spec(device: str, pruned: bool = True, **recipe: Any) -> Spec:
    """A run of seconds on the embedded digits."""
    profile = load_profile("smoke")
    settings = profile.recipe.model_copy(update={"epochs": 4, "batch_size": 60, **recipe})
    changes = {"dataset": "digits", "recipe": settings, "device": device}
    pruning = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=PRUNE)) if pruned else None
    return profile.spec(pruning=pruning, **changes)


class Checks:
    """The checks, by name; each gives whether it held and what it saw."""

    def __init__(self, device: str, scratch: Path) -> None:
        self.device, self.scratch = device, scratch
        self._made: dict[tuple[str, bool, str], Record] = {}

    def record(self, device: str, *, graphs: bool = True, precision: str = "fp32", again: str = "") -> Record:
        key = (device, graphs, precision + again)
        if key not in self._made:
            store = Store(self.scratch / "-".join(map(str, key)))
            self._made[key] = run(spec(device, precision=precision), store, graphs=graphs)
        return self._made[key]

    def decisions_of_the_cpu(self) -> tuple[bool, dict[str, Any]]:
        """Structures of every dense epoch, of the pruning epoch, and the accuracy."""
        one, two = self.record("cpu"), self.record(self.device)
        near = {}
        for a, b in zip(one.history, two.history, strict=True):
            if a.tracked and b.tracked:
                counts = [e["gradient"]["ratios"]["0.5"]["counts"] for e in (a.tracked, b.tracked)]
                near[f"epoch {a.epoch}"] = similarity(*counts)
            elif a.structure and b.structure:
                near[f"pruned in {a.epoch}"] = similarity(a.structure, b.structure)
        accuracy = [_accuracy(record) for record in (one, two)]
        apart = abs(accuracy[0] - accuracy[1])
        held = min(near.values()) >= CLOSE["similarity"] and apart <= CLOSE["points"]
        return held, {"similarity": near, "accuracy": accuracy}

    def graphs_give_what_plain_passes_give(self) -> tuple[bool, dict[str, Any]]:
        return self._same(self.record(self.device), self.record(self.device, graphs=False))

    def the_same_again(self) -> tuple[bool, dict[str, Any]]:
        return self._same(self.record(self.device), self.record(self.device, again="again"))

    def a_cut_run_goes_on_to_the_same_record(self) -> tuple[bool, dict[str, Any]]:
        store, wanted, cuts = Store(self.scratch / "cut"), spec(self.device), 0
        for _ in range(wanted.recipe.epochs - 1):
            try:
                run(wanted, store, deadline=deadline_in(0.0))
            except OutOfTime:
                cuts += 1
        held, seen = self._same(self.record(self.device), run(wanted, store))
        return held and cuts > 0, {**seen, "cuts": cuts}

    def fp16_is_scaled(self) -> tuple[bool, dict[str, Any]]:
        """Overflows are skipped and lower the scale; then losses fall."""
        trainer = self._trainer(spec(self.device, pruned=False, precision="fp16", slices=2))
        large = 2.0**20  # overflows at once
        trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": large})
        trainer.train(until=3)
        first, last = trainer.history[0], trainer.history[-1]
        scale = trainer.scaler.get_scale()
        held = scale < large and last.loss is not None and first.loss is not None and last.loss < first.loss
        return held, {"scale": scale, "losses": [first.loss, last.loss], "skipped": first.skipped}

    def removing_is_masking(self) -> tuple[bool, dict[str, Any]]:
        """ResNet50 with half of its channels masked and with them removed: outputs, peak memory of a step."""
        torch.manual_seed(0)
        masked = models.build("resnet50", num_classes=10, image_size=64).to(self.device).train()
        images = torch.randn(8, 3, 64, 64, device=self.device)
        optimizer = torch.optim.SGD(masked.parameters(), lr=0.1, momentum=0.9)
        self._step(masked, images, optimizer)
        groups = trace(masked, images)
        keep = kept_count(sum(group.size for group in groups.values()), 0.5)
        kept = top_channels(magnitude_scores(masked, groups), keep, min_channels=1)
        removed = copy.deepcopy(masked)
        own = torch.optim.SGD(removed.parameters(), lr=0.1, momentum=0.9)
        own.load_state_dict(optimizer.state_dict())
        surgery.mask(masked, kept, groups=groups)
        surgery.remove(removed, kept, groups=groups, optimizer=own)
        with torch.no_grad():
            a, b = masked.eval()(images), removed.eval()(images)
        apart = float((a - b).norm() / a.norm())
        cut = all(p.shape == own.state[p]["momentum_buffer"].shape for p in removed.parameters())
        before, after = (self._peak(m, images) for m in (masked, removed))
        return apart < CLOSE["relative"] and cut, {"apart": apart, "peak MB": [before, after]}

    def steps_do_not_wait(self) -> tuple[bool, dict[str, Any]]:
        """Waits per epoch as CUDA sees them: the loss is looked at once here, and its sums are read."""
        trainer = self._trainer(spec(self.device, pruned=False))
        trainer.train(until=1)
        if self.device == "cpu":
            return True, {"waits": None}
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                trainer._steps(1)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        lines = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
        steps = trainer._steps_per_epoch
        return len(lines) < steps / 2, {"waits": lines, "steps": steps}

    def _same(self, one: Record, two: Record) -> tuple[bool, dict[str, Any]]:
        """Equal to the last digit; near, where the device has no deterministic algorithm."""
        varying = sorted({*one.provenance.varying, *two.provenance.varying})
        apart = abs(_accuracy(one) - _accuracy(two))
        equal = one.same_outcome(two)
        return equal or (bool(varying) and apart <= CLOSE["points"]), {
            "equal": equal, "apart": apart, "varying": varying,
        }  # fmt: skip

    def _trainer(self, wanted: Spec) -> Any:
        with repeatable(self.device):
            return build_trainer(wanted, open_data(wanted), SILENT, 0)

    def _step(self, model: nn.Module, images: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()

    def _peak(self, model: nn.Module, images: torch.Tensor) -> float:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self._step(model.train(), images, torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9))
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


def _accuracy(record: Record) -> float:
    if record.result is None:
        raise RuntimeError(f"{record.spec.title}: {record.status}, {record.reason}")
    return record.result.test_accuracy


CHECKS: dict[str, Callable[[Checks], tuple[bool, dict[str, Any]]]] = {
    name.replace("_", " "): method
    for name, method in vars(Checks).items()
    if not name.startswith("_") and name != "record"
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        checks = Checks(chosen.device, Path(scratch))
        for name, check in CHECKS.items():
            begin = time.perf_counter()
            try:
                held, seen = check(checks)
            except Exception as error:  # the other checks are worth their seconds
                held, seen = False, {"error": f"{type(error).__name__}: {error}"}
                traceback.print_exc()
            row = {"check": name, "held": held, "seconds": round(time.perf_counter() - begin, 2), **seen}
            print(row, flush=True)
            rows.append(row)
            # Graphs that do not do what plain passes do are not used for the runs.
            unused = [r for r in rows if "graphs" in r["check"] and not r["held"]]
            content = {"passes": "--plain" if unused else "--graphs", "checks": rows}
            chosen.out.write_text(json.dumps(content, indent=1), encoding="utf-8")
    sys.exit(not all(row["held"] for row in rows))


if __name__ == "__main__":
    main()
