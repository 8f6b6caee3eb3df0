"""The ratios that need an accelerator: this loop against one that a user would write, pruned against dense.

Each pair is timed in turns on one device, in medians of whole epochs after one that does not count; the next
part begins only while there is time. Seconds say little of another machine, their ratios more.
"""

import argparse
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from pat import cost
from pat.study.plan.profile import Profile, load_profile
from pat.study.runs.budget import deadline_in, seconds, time_left
from pat.study.runs.building import build_trainer, open_data
from pat.study.runs.watcher import SILENT
from pat.study.runs.workers import context
from pat.training import models
from pat.training.data import Augment, add_folder, load_manifest, open_dataset
from pat.training.data.augment import Decoding
from pat.training.repeatable import repeatable
from pat.training.trainer import Trainer

SMALL = "smoke"
"""The profile whose small networks are packed on one device."""


class Ratios:
    """What is timed.

    Args:
        profile: data, recipe and first network.
        data: root of the data sets.
        graphs: whether passes are captured.
        turns: epochs of each side.
        steps: of an epoch; None for all of a pass.
    """

    def __init__(self, profile: Profile, data: Path, graphs: bool, turns: int, steps: int | None) -> None:
        self.profile, self.graphs, self.turns = profile, graphs, turns
        self.spec = profile.spec()
        self.dataset = open_data(self.spec, data)
        if steps is not None:
            whole = self.dataset.steps_per_epoch(self.spec.recipe.batch_size)
            recipe = self.spec.recipe.model_copy(update={"slices": max(1, whole // steps)})
            self.spec = profile.spec(recipe=recipe)

    def loop(self) -> dict[str, Any]:
        """Images per second of this loop, captured and plain, and of one that a user would write."""
        captured, plain = self._trainer(), self._trainer(graphs=False)
        sides = {"captured": _steps(captured), "plain": _steps(plain), "user's": self._users_loop()}
        times = self._in_turns(sides)
        images = plain._steps_per_epoch * self.spec.recipe.batch_size
        return {
            "images per second": {name: round(images / span, 1) for name, span in times.items()},
            "ratio captured / user's": times["user's"] / times["captured"],
            "ratio plain / user's": times["user's"] / times["plain"],
        }

    def tracking(self) -> dict[str, Any]:
        """Seconds of a dense epoch with what is watched in it, and without."""
        watched, bare = self._trainer(), self._trainer()
        bare.tracker = None
        times = self._in_turns({"on": _epochs(watched), "off": _epochs(bare)})
        return {"seconds": times, "ratio on / off": times["on"] / times["off"]}

    def pruned(self) -> dict[str, Any]:
        """Speed-up of a step after a share of each group's channels is gone, against the MACs."""
        found = {}
        for ratio in (0.3, 0.5, 0.7):
            dense, small = self._trainer(), self._trainer()
            before = cost.measure(dense.model, dense.example)
            kept = {
                name: torch.arange(group.size) < max(1, round((1 - ratio) * group.size))
                for name, group in small.pruner.neurons.items()
            }
            small.pruner.adopt(kept)  # type: ignore[union-attr]
            after = cost.measure(small.model, small.example)
            times = self._in_turns({"dense": _steps(dense), "pruned": _steps(small)})
            found[f"{ratio:g}"] = {
                "speed-up": times["dense"] / times["pruned"],
                "MACs dense / pruned": before.macs / after.macs,
            }
        return found

    def packed(self) -> dict[str, Any]:
        """Steps per second of a small network on one device, of so many processes together."""
        started = context()
        mine: list[Connection] = []
        running: list[BaseProcess] = []
        try:
            for _ in range(4):
                here, there = started.Pipe()
                one = started.Process(target=pack, args=(self.profile.device, there))  # type: ignore[attr-defined]
                one.start()
                there.close()
                mine.append(here)
                running.append(one)
            for end in mine:  # all are ready before any begins
                end.recv()
            found = {}
            for processes in (1, 2, 4):
                for end in mine[:processes]:
                    end.send("go")
                found[str(processes)] = round(sum(end.recv() for end in mine[:processes]), 1)
        finally:
            for end in mine:
                end.close()
            for one in running:
                one.join()
        return {"steps per second": found, "ratio 4 / 1": found["4"] / found["1"]}

    def decoding(self) -> dict[str, Any]:
        """Images per second of a loader whose workers decode, and of one that decodes on the device."""
        device, count = self.dataset.device, 1024 if self.profile.device == "cuda" else 32
        workers = min(16, os.cpu_count() or 1) if self.profile.device == "cuda" else 0
        augment = Augment(random_resized_crop=True, flip=True)
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            _photographs(root / "photographs", count)
            manifest = load_manifest(add_folder(root / "photographs", "photographs", root, in_memory=False))

            def loader(decoding: Decoding) -> Callable[[], object]:
                own = open_dataset(manifest, root=root, device=device, workers=workers, decoding=decoding)
                batch = {"batch_size": min(256, count), "seed": 0, "epoch": 0, "augment": augment}
                return lambda: deque(own.train_batches(**batch), maxlen=0)  # type: ignore[arg-type]

            times = self._in_turns({"workers": loader("workers"), "device": loader("device")})
        rates = {name: round(count / span, 1) for name, span in times.items()}
        return {
            "images per second": rates,
            "workers": workers,
            "ratio device / workers": rates["device"] / rates["workers"],
        }

    def _trainer(self, graphs: bool | None = None) -> Trainer:
        chosen = self.graphs if graphs is None else graphs
        return build_trainer(self.spec, self.dataset, SILENT, 0, graphs=chosen)

    def _users_loop(self) -> Callable[[], object]:
        """Autocast, channels_last and SGD, as in any tutorial; the loss is read at every step."""
        recipe, data = self.spec.recipe, self.dataset
        model = models.build(
            self.spec.architecture, num_classes=data.num_classes, in_channels=data.in_channels,
            image_size=data.image_size,
        ).to(data.device)  # fmt: skip
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model = model.to(memory_format=layout)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.875, weight_decay=5e-4)
        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = types.get(recipe.precision)

        def epoch() -> float:
            model.train()
            total = 0.0
            batches = data.train_batches(
                batch_size=recipe.batch_size, seed=0, epoch=0, augment=recipe.augment, slices=recipe.slices
            )
            for images, labels in batches:
                optimizer.zero_grad()
                with torch.autocast(data.device.type, dtype, enabled=dtype is not None):
                    output = model(images.contiguous(memory_format=layout))
                    loss = F.cross_entropy(output, labels, label_smoothing=recipe.label_smoothing)
                loss.backward()
                optimizer.step()
                total += loss.item()
            return total

        return epoch

    def _in_turns(self, sides: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Median seconds of each side, which take turns; the first turn does not count."""
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(self.turns + 1):
            for name, epoch in sides.items():
                self._wait()
                begin = time.perf_counter()
                epoch()
                self._wait()
                if turn:
                    times[name].append(time.perf_counter() - begin)
        return {name: median(spans) for name, spans in times.items()}

    def _wait(self) -> None:
        if self.dataset.device.type == "cuda":
            torch.cuda.synchronize()


def _photographs(folder: Path, count: int) -> None:
    """JPEGs of a photograph's size, half of them in each of two classes; few for validation."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("val", 4)):
        for i in range(images):
            file = folder / split / "ab"[i % 2] / f"{i}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)


def _steps(trainer: Trainer) -> Callable[[], object]:
    """The minibatches of one epoch."""
    return lambda: trainer._steps(0)


def _epochs(trainer: Trainer) -> Callable[[], object]:
    """One epoch after the other, with validation and what is watched."""
    return lambda: trainer.train(until=trainer.next_epoch + 1)


def pack(device: str, parent: Connection) -> None:
    """One of several processes: say that it is ready, and whenever told to, train for a while."""
    torch.set_num_threads(1)
    with repeatable(device):
        profile = load_profile(SMALL).model_copy(update={"device": device})
        trainer = build_trainer(profile.spec(), open_data(profile.spec()), SILENT, 0)
        trainer._steps(0)
        with suppress(EOFError, BrokenPipeError):  # the parent has gone on
            parent.send("ready")
            while parent.recv():
                begin, steps = time.perf_counter(), 0
                while time.perf_counter() - begin < (5.0 if device == "cuda" else 0.3):
                    trainer._steps(0)
                    steps += trainer._steps_per_epoch
                parent.send(steps / (time.perf_counter() - begin))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default=SMALL)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--plain", action="store_true", help="without captured passes")
    parser.add_argument("--graphs", action="store_true", help="with them, as by default")
    parser.add_argument("--budget", default="135s")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of an epoch, instead of all of a pass")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    deadline = deadline_in(seconds(chosen.budget))
    profile = load_profile(chosen.profile).model_copy(update={"device": chosen.device})
    found: dict[str, Any] = {"profile": chosen.profile, "architecture": profile.architectures[0]}
    with repeatable(chosen.device):
        ratios = Ratios(profile, chosen.data, not chosen.plain, chosen.turns, chosen.steps)
        for name in ("loop", "pruned", "tracking", "packed", "decoding"):
            if time_left(deadline) < 5:
                found[name] = {"left out": "no time"}
                continue
            try:
                found[name] = getattr(ratios, name)()
            except Exception as error:  # the other ratios are worth their seconds
                found[name] = {"error": f"{type(error).__name__}: {error}"}
            print(name, found[name], flush=True)
            chosen.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
