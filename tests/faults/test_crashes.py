"""Killed at any moment: the next start comes to the end of an undisturbed one, and nothing is left behind."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import victim
import yaml
from conftest import Tally
from filelock import FileLock
from PIL import Image
from processes import members, servers_forks, wait_for
from tiny import RECIPE, dense, pruned, recipe
from torch import Tensor
from victim import Moment, start

from pat.rivals.prunetrain import PruneTrainSettings
from pat.saved import _digest, _read_metadata
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import EPI, Pruning, Spec, Variation
from pat.study.store import Store
from pat.study.store.publishing import publish
from pat.study.store.record import Record, provenance, read_record
from pat.study.store.speeds import Seconds, Session, Speeds, StepTime, write_speeds
from pat.training import checkpoint, data

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")

NAMES = {
    "step dense": "killed in a dense epoch",
    "step prune": "killed in the pruning epoch",
    "step sparse": "killed in a sparse epoch",
    "surgery": "killed while channels are removed",
    "mask": "killed as a mask from another run is put on",
    "decode": "killed while images are decoded",
    "cache": "killed while the data cache is written",
    "checkpoint": "killed while a checkpoint is written",
    "gone": "killed while old checkpoints are removed",
    "weights": "killed while final weights are written",
    "scores": "killed while scores are written",
    "record": "killed while a record is written",
    "manifest": "killed while a manifest is written",
    "file list": "killed while a manifest is written",
    "checked": "killed while images are noted as checked",
}


def in_words(place: str) -> str:
    """What a place's kills are called in the bench's record."""
    if place.endswith(" gone"):
        return NAMES["gone"]
    return NAMES.get(place) or NAMES[place.rpartition(" ")[0]]


# What is trained


@dataclass(frozen=True)
class Case:
    """A kind of run: trained by a sweep, or by itself with checkpoints to keep, some of which were lost.

    Attributes:
        spec: of plain digits, unless it is one on images.
        keep: after how many epochs to keep a checkpoint.
        lost: which of them are gone when it starts.
        images: where they are while it trains, if it is on images: in memory, or streamed by another process.
    """

    spec: Spec
    keep: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    images: Literal["in memory", "streamed"] | None = None


def at(epoch: int, **fields: Any) -> Pruning:
    settings = pruned(epoch).pruning
    assert settings is not None
    return settings.model_copy(update=fields)


def write_pictures(home: Path, *, in_memory: bool = True) -> Spec:
    """A dense run on a folder of images, with their manifest in the working folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("blue", "green", "red")):
            (home / "images" / "pictures" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 80, (12, 15, 3), dtype=np.uint8)
                pixels[..., 2 - label] += 150
                file = home / "images" / "pictures" / split / name / f"{number}.png"
                Image.fromarray(pixels).save(file)
    folder, manifests = home / "images" / "pictures", home / "data_manifests"
    manifest = data.load_manifest(data.add_folder(folder, "pictures", manifests, in_memory=in_memory))
    settings = recipe(epochs=2, batch_size=11)
    return dense(dataset="pictures", data_checksum=manifest.checksum, recipe=settings)


EARLY = EPI(threshold=0.0, look_back=1, patience=0, fallback=3)
CASES = {
    "dense": Case(dense()),
    "pruned": Case(pruned(2)),
    "ticket": Case(dense(pruning=at(2, rewind=0))),
    "variation": Case(dense(pruning=at(2, rewind=2, variation=Variation(kind="same", draw=0)))),
    "EPI": Case(dense(pruning=at(0, policy=EARLY))),
    "pretrained": Case(pruned(0, pretrained=True)),
    "PruneTrain": Case(dense(method=PruneTrainSettings(share=0.45, interval=1, threshold=0.02))),
    "trunk": Case(dense(), keep=(1, 2, 3)),
    "trunk again": Case(dense(), keep=(1, 2, 3), lost=(1, 2)),
    "images": Case(dense(), images="in memory"),
    "streamed images": Case(dense(), images="streamed"),
}


SHORT = {
    "dense": "record half",
    "ticket": "mask",
    "EPI": "surgery",
    "pretrained": "checkpoint half",
    "images": "cache half",
}
"""What the short bench kills, and where."""


@dataclass(frozen=True)
class Undisturbed:
    """A case that nobody disturbed."""

    case: Case
    home: Path
    census: dict[str, int]
    seconds: float

    @property
    def store(self) -> Path:
        return self.home / "runs"

    def prepare(self, home: Path) -> Path:
        """The same start in another working folder; its store."""
        home.mkdir()
        if (self.home / "images").is_dir():
            ignore = shutil.ignore_patterns(".pat-cache")
            shutil.copytree(self.home / "images", home / "images", ignore=ignore)
            shutil.copytree(self.home / "data_manifests", home / "data_manifests")
        if self.case.lost:
            shutil.copytree(self.store, home / "runs")
            for epochs in self.case.lost:
                Store(home / "runs").checkpoint_path(self.case.spec, epochs).unlink()
        return home / "runs"

    def start(self, home: Path, **how: Any) -> int | None:
        workers = int(self.case.images == "streamed")
        return start(victim.train, [self.case.spec], home / "runs", home, self.case.keep, workers, **how)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """Each case's undisturbed end, once."""
    known: dict[str, Undisturbed] = {}
    assert start(victim.nothing) == 0  # the fork server's start is no run's time

    def make(name: str) -> Undisturbed:
        if name in known:
            return known[name]
        home, case = tmp_path_factory.mktemp("undisturbed"), CASES[name]
        if case.images:
            case = replace(case, spec=write_pictures(home, in_memory=case.images == "in memory"))
        if case.lost:  # made whole, and then again in a copy, for the census
            whole = make("trunk")
            shutil.copytree(whole.store, home / "runs")
            for epochs in case.lost:
                Store(home / "runs").checkpoint_path(case.spec, epochs).unlink()
        census, begin = home / "census.json", time.perf_counter()
        found = Undisturbed(case, home, {}, 0.0)
        assert found.start(home, census=census) == 0
        known[name] = Undisturbed(case, home, json.loads(census.read_text()), time.perf_counter() - begin)
        return known[name]

    return make


# What must be there, and what must not


def files(root: Path) -> dict[str, Path]:
    return {str(file.relative_to(root)): file for file in sorted(root.rglob("*")) if file.is_file()}


def weights(file: Path) -> tuple[dict[str, str], bytes]:
    """Metadata, whose order in the file is by chance, and everything else of a file of weights."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return header.pop("__metadata__"), json.dumps(header).encode() + content[8 + length :]


def state(file: Path) -> Any:
    """A checkpoint without its times."""
    content = checkpoint.load(file)
    if isinstance(content, dict) and "seconds" in content:
        del content["seconds"]
        for epoch in content["history"]:
            del epoch["seconds"]
    return content


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def assert_whole(root: Path) -> None:
    """Every file that a reader would take for whole is."""
    from safetensors.torch import load_file

    for name, file in files(root).items():
        if file.name == "record.json":
            read_record(file)
        elif file.suffix == ".ckpt":
            checkpoint.load(file)
        elif file.suffix == ".safetensors":
            assert _read_metadata(file)["sha256"] == _digest(load_file(file))
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                assert sum(len(stored[key]) for key in stored.files if key.endswith("_images")) == 48
        else:
            assert file.name == "lock" or file.suffix in {".checked", ".part"}, name


def assert_tidy(root: Path) -> None:
    """Nothing unfinished or set aside is left, and no lock is held."""
    assert [name for name in files(root) if ".part" in name or "damaged" in name or "tmp" in name] == []
    for name, file in files(root).items():
        if file.name.endswith("lock"):
            with FileLock(file, timeout=0):
                assert name


def assert_same_store(store: Path, expected: Path) -> None:
    """Records, weights, scores and kept checkpoints are those of the undisturbed store.

    Whole checkpoints of a finished run may be left: ``pat gc`` removes them.
    """
    found, wanted = files(store), files(expected)
    extra = [name for name in found if name not in wanted]
    assert all(re.fullmatch(r"[0-9a-f]{64}/epochs/[0-9]{4}\.ckpt", name) for name in extra), extra
    assert [name for name in wanted if name not in found] == []
    for name, file in wanted.items():
        if file.name == "record.json":
            assert read_record(found[name]).same_outcome(read_record(file)), name
        elif file.suffix == ".safetensors":
            assert weights(found[name]) == weights(file), name
        elif file.suffix == ".ckpt":
            assert equal(state(found[name]), state(file)), name


def assert_recovers(case: Undisturbed, home: Path) -> None:
    """After a kill: what is there is whole, and the same start comes to the same end."""
    assert_whole(home / "runs")
    assert case.start(home) == 0
    assert_same_store(home / "runs", case.store)
    assert_tidy(home / "runs")
    if case.case.images:
        cache = home / "images" / ".pat-cache"
        assert_whole(cache)
        assert_tidy(cache)
        assert len(files(cache)) == 1  # the images, or that they were checked


# Runs


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_is_killed_anywhere_comes_to_the_same_end(
    name: str, bench: Tally, undisturbed: Callable[[str], Undisturbed], tmp_path: Path
) -> None:
    if not bench.long and name not in SHORT:
        return
    case = undisturbed(name)
    rng = random.Random(name)
    places = [place for place in case.census if not place.startswith("other")]
    for number, place in enumerate(places if bench.long else [SHORT[name]]):
        moment = Moment(place, rng.randint(1, case.census[place]))
        home = tmp_path / str(number)
        case.prepare(home)
        with bench.trial("crashes", in_words(place)):
            assert case.start(home, moment=moment) == -signal.SIGKILL, moment
            assert_recovers(case, home)
        shutil.rmtree(home)


def test_a_run_that_is_killed_again_and_again_comes_to_the_same_end(
    bench: Tally, undisturbed: Callable[[str], Undisturbed], tmp_path: Path
) -> None:
    rng = random.Random(1)
    for name in CASES if bench.long else ["pruned"]:
        case, killed = undisturbed(name), 0
        home = tmp_path / name
        case.prepare(home)
        with ExitStack() as kills:
            while killed < bench.pick(2, 8):
                status = case.start(home, after=rng.uniform(0, case.seconds))
                if status == 0:  # it was quicker
                    break
                killed += 1
                kills.enter_context(bench.trial("crashes", "killed at a random time"))
                assert status == -signal.SIGKILL
                assert_whole(home / "runs")
            assert_recovers(case, home)


def test_a_killed_process_that_decodes_images_ends_its_run_and_no_more(
    bench: Tally, undisturbed: Callable[[str], Undisturbed], tmp_path: Path
) -> None:
    if not bench.long:
        pytest.skip("takes the long bench")
    rng = random.Random(4)
    case = undisturbed("streamed images")
    for number in range(4):
        home = tmp_path / str(number)
        case.prepare(home)
        with bench.trial("crashes", "a process that decodes images killed"):
            assert case.start(home, moment=Moment("decode", rng.randint(1, 33))) == 1  # the sweep tells it
            assert_recovers(case, home)


# Sweeps from the command line


PROFILE = {
    "title": "Killed",
    "purpose": "To be killed.",
    "machine": "any",
    "dataset": "digits",
    "architectures": ["resnet8-basic"],
    "recipe": RECIPE.model_dump(),
    "tracking": {"ratios": [0.5], "look_back": 2},
    "tau": {"magnitude": 0.9, "gradient": 0.9},
    "contrast": {"reference": 1, "last": 3},
    "sweeps": {
        "study": [
            {
                "architecture": "resnet8-basic",
                "criterion": "gradient",
                "ratios": [0.5],
                "epochs": [0, 1, 2],
                "seeds": [0, 1],
            }
        ]
    },
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a profile."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "killed.yaml").write_text(yaml.safe_dump(PROFILE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(workplace: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a sweep of the profile as a process group of its own."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "pat.cli", "sweep", "--profile", "killed", "--store", "runs"]
        with (workplace / "log").open("ab") as log:
            begun.append(subprocess.Popen(line, start_new_session=True, stdout=log, stderr=log))
        return begun[-1]

    yield begin
    for process in begun:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def under_way(store: Path, finished: int) -> bool:
    """Whether a sweep trains, and has finished so many runs."""
    return any(store.glob("*/lock")) and len(list(store.glob("*/record.json"))) >= finished


def gone(group: int) -> bool:
    """Whether no process of a group lives."""
    return members(group) == []


def one_trainer(group: int, rng: random.Random) -> None:
    os.kill(rng.choice(servers_forks(group)), signal.SIGKILL)


SHOTS: dict[str, Callable[[int, random.Random], None]] = {
    "a sweep killed, its workers left": lambda group, rng: os.kill(group, signal.SIGKILL),
    "a sweep's worker killed": one_trainer,
    "a sweep killed with all its workers": lambda group, rng: os.killpg(group, signal.SIGKILL),
}


@pytest.mark.parametrize("shot", SHOTS)
def test_a_killed_sweep_goes_on_and_leaves_no_process(
    shot: str, bench: Tally, workplace: Path, command: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """Long only: fresh interpreters take seconds each, and tests/test_sweep.py kills one sweep."""
    if not bench.long:
        pytest.skip("takes the long bench")
    rng = random.Random(shot)
    expected, store = workplace / "expected", workplace / "runs"
    specs = load_profile("killed").sweep("study")
    assert start(victim.train, specs, expected, workplace) == 0
    for _ in range(2):
        with bench.trial("crashes", shot):
            process = command()
            wait_for(partial(under_way, store, rng.randint(0, 4)), 120)
            time.sleep(rng.uniform(0, 0.2))
            SHOTS[shot](process.pid, rng)
            process.wait(60)
            wait_for(partial(gone, process.pid), 20)
            assert_whole(store)
            assert command().wait(300) == 0
            assert_same_store(store, expected)
            assert_tidy(store)
        shutil.rmtree(store)


# Publishing


def made(record: Record, seed: int) -> Record:
    """The record as if of another seed."""
    spec = record.spec.model_copy(update={"seed": seed})
    return record.model_copy(update={"spec": spec, "id": spec.id})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, undisturbed: Callable[[str], Undisturbed]) -> Store:
    """A working store with records and step times."""
    store = Store(tmp_path_factory.mktemp("finished"))
    record = Store(undisturbed("dense").store).records()[0]
    for seed in range(4):
        store.write(made(record, seed))
    seconds = Seconds(forward=1.0, backward=2.0, update=0.5)
    step = StepTime(architecture="a", structure={"b": 1}, dense=seconds, pruned=seconds, shares=(1.0,))
    origin = provenance(seconds=1.0, device="cpu", command="test")
    session = Session(provenance=origin, steps=1, times={"0" * 16: step})
    conditions: dict[str, Any] = {"device": "cpu", "threads": 1, "batch": 8, "precision": "fp32"}
    write_speeds(
        store.root,
        Speeds(profile="tiny", hardware="x", channels_last=False, clock="wall", sessions=(session,),
               **conditions),
    )  # fmt: skip
    return store


def published(target: Path) -> dict[str, bytes]:
    """All files of a publication but its locks."""
    return {name: file.read_bytes() for name, file in files(target).items() if file.suffix != ".lock"}


@pytest.mark.parametrize("before", [0, 2])
def test_publishing_that_is_killed_anywhere_is_done_by_publishing_again(
    before: int, bench: Tally, finished: Store, tmp_path: Path
) -> None:
    rng = random.Random(before)

    def prepare(target: Path) -> Path:
        if before:
            publish(finished.records()[:before], target)
        return target

    expected, census = prepare(tmp_path / "expected"), tmp_path / "census.json"
    old = published(expected)
    assert start(victim.publish, finished.root, expected, census=census) == 0
    whole, counts = published(expected), json.loads(census.read_text())
    assert [name for name in whole if ".part" in name] == []
    assert len(whole) == 6
    moments = [Moment(place, call) for place, count in counts.items() for call in range(1, count + 1)]
    for number, moment in enumerate(rng.sample(moments, bench.pick(1, len(moments)))):
        target = prepare(tmp_path / str(number))
        with bench.trial("crashes", "killed while publishing"):
            assert start(victim.publish, finished.root, target, moment=moment) == -signal.SIGKILL, moment
            for name, content in published(target).items():
                assert content in (old.get(name), whole.get(name)) or name.endswith(".part"), name
            assert start(victim.publish, finished.root, target) == 0
            assert published(target) == whole
            assert_tidy(target)


# Manifests


def test_a_manifest_whose_writing_is_killed_is_there_or_not(bench: Tally, tmp_path: Path) -> None:
    rng = random.Random(3)
    write_pictures(tmp_path)
    folder, census = tmp_path / "images" / "pictures", tmp_path / "census.json"
    assert start(victim.add, folder, tmp_path / "expected", census=census) == 0
    whole, counts = published(tmp_path / "expected"), json.loads(census.read_text())
    places = [place for place in counts if place.startswith(("manifest", "file list"))]
    assert len(places) == 8
    for number, place in enumerate(rng.sample(places, bench.pick(1, len(places)))):
        out = tmp_path / str(number)
        with bench.trial("crashes", in_words(place)):
            assert start(victim.add, folder, out, moment=Moment(place, 1)) == -signal.SIGKILL
            file = out / "pictures.yaml"
            if file.is_file():
                data.load_manifest(file)
            else:
                assert start(victim.add, folder, out) == 0
            assert published(out) == whole
