"""Readers on thousands of spoiled files each: the error of their contract or a right answer, nothing else."""

import copy
import hashlib
import io
import json
import signal
import string
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import samples
import torch
import yaml
from conftest import Tally
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import save as serialise
from test_bench import bench_record
from test_record import example
from tiny import dense, pruned
from torch import Tensor, nn
from typer.testing import CliRunner

from pat import load_pruned, read_notes, save_pruned
from pat.cli import app
from pat.cli.show import print_record
from pat.files import paths
from pat.files.errors import DataError, explain
from pat.files.plain import read_json, shown
from pat.files.sealed import checksum
from pat.rivals.prunetrain import PruneTrainSettings
from pat.saved import _digest
from pat.study.claims.claims import Claims, load_claims
from pat.study.plan.profile import Profile, load_profile
from pat.study.plan.spec import EPI, Neurons, Pruning, Spec, Variation
from pat.study.runs.following.console import Console
from pat.study.store import Store, measured
from pat.study.store.bench import read_bench, write_bench
from pat.study.store.measured import read_table
from pat.study.store.record import DamagedRecord, read_record, write_record
from pat.study.store.rows import runs_table
from pat.study.store.speeds import read_speeds, write_speeds
from pat.training import checkpoint
from pat.training.data import load_manifest

torch.set_num_threads(1)

PATIENCE = 20
"""Seconds after which an input counts as a hang, on a busy machine."""

# Values

ODD = [
    "", "0", "-1", "1e999", "nan", "null", "true", "..", "../x", "/etc/passwd", "a\0b", "\ud800", "\u2028",
    "'", '"', "\\", "{}", "[]", "${x}", "!!python/name:os.system", "<<", "=", "~", "2024-01-01", "0x1f",
    "1_000", "[/]", "x" * 400, "epoch", "epi", "digits", "done", "0" * 64, "sha256:00", "float32",
    "U8", "F64",
]  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 10**4000])
    | st.floats()
    | st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")])
    | st.sampled_from(ODD)
    | st.text(st.characters(), max_size=12)
)
keys = st.sampled_from(
    [*ODD, "kind", "format", "name", "count", "seed", "epochs", "tensor", "dict", "shape"]
) | st.text(string.ascii_lowercase, min_size=1, max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every list or dict in a value with each of its indices or keys."""
    found = []
    inner = list(value.items()) if isinstance(value, dict) else []
    inner = list(enumerate(value)) if isinstance(value, list) else inner
    for key, item in inner:
        found.append((value, key))
        found += places(item)
    return found


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON-like value with a few things replaced, taken out, put in, repeated or moved."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        found = places(value)
        if not found:
            break
        place, key = found[draw(st.integers(0, len(found) - 1))]
        change = draw(st.sampled_from(("replace", "replace", "nudge", "remove", "add", "repeat", "move")))
        if change == "replace":
            place[key] = draw(values)
        elif change == "nudge":
            place[key] = nudged(draw, place[key])
        elif change == "remove":
            del place[key]
        elif change == "add" and isinstance(place, dict):
            place[draw(keys)] = draw(values)
        elif change == "add":
            place.insert(key, draw(values))
        elif change == "repeat" and isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        else:
            other, name = found[draw(st.integers(0, len(found) - 1))]
            place[key] = copy.deepcopy(other[name])
    return value


def nudged(draw: st.DrawFn, value: Any) -> Any:
    """A value of nearly the same kind."""
    if isinstance(value, bool) or value is None:
        return draw(st.booleans() | st.none())
    if isinstance(value, int | float):
        return draw(
            st.sampled_from((value + 1, value - 1, -value, value * 10**9, value // 3, str(value), [value]))
        )
    if isinstance(value, str):
        return draw(
            st.sampled_from((value + "x", value[:-1], value.upper(), value + "\n", " " + value, value * 2))
        )
    return draw(st.sampled_from(([], {}, [value], {"x": value}, None)))


@st.composite
def torn(draw: st.DrawFn, whole: bytes, pieces: tuple[bytes, ...] = ()) -> bytes:
    """Bytes with a few of them changed, cut out, put in or repeated."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((0, 1, 1, 2, 8, 100, 10**6)))
        new = draw(st.sampled_from((b"", *pieces)) | st.binary(max_size=9)) * draw(
            st.sampled_from((1, 1, 1, 50))
        )
        content[start : start + length] = new
    return bytes(content)


JSON_PIECES = tuple(
    b'{ } [ ] , : " \\ null NaN Infinity 1e999 -0 "\\ud800" \\u0000 "a":1, [[[[[[[[ {"a": \xff'.split()
)
YAML_PIECES = tuple(piece.encode() for piece in (
    "- ", ": ", "? ", "&a ", "*a", "<<: *a", "!!int ", "!!binary ", "!!python/name:os.x ", "!!set ", "|\n",
    ">-\n", "---\n", "...\n", "%YAML 1.1\n", "#", "'", '"', "[", "]", "{", "}", "\t", "\n", "  ", "~", "@",
    "`", ".nan", ".inf", "1:30:00", "0x", "2024-01-01", "9" * 200, "\ufeff", "\x85", "\u2028", "\x00",
))  # fmt: skip


def as_json(value: Any) -> bytes:
    """JSON of anything that JSON can nearly hold."""
    return json.dumps(value).encode()


def as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


# The bench


@contextmanager
def soon() -> Iterator[None]:
    """An error in whatever takes longer than the patience."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not ended after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(
    bench: Tally,
    reader: str,
    inputs: st.SearchStrategy[Any],
    check: Callable[[Any], object],
    share: float = 1.0,
) -> None:
    """Give a reader its inputs; more than that the check must say itself."""
    number = int(share * bench.pick(40, 3100))

    @settings(
        max_examples=number, derandomize=True, deadline=None, database=None,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs)
    def one(value: Any) -> None:
        with bench.trial("fuzzing", reader), soon():
            check(value)

    one()
    assert bench.counts["fuzzing", reader][0] >= number


def answer(read: Callable[[], Any], error: type[Exception] | tuple[type[Exception], ...], *names: str) -> Any:
    """What a reader gives; None for an error of its contract, which names the file in few words."""
    try:
        return read()
    except error as problem:
        text = str(problem)
        assert any(name in text for name in names) or not names, text
        assert text.strip()
        assert len(text) < 20_000
        return None


# Specs

SPECS = [
    dense(),
    pruned(2),
    dense(device="cuda",
          pruning=Pruning(criterion="magnitude", ratio=0.3, policy=EPI(threshold=0.9, fallback=3))),
    pruned(1, pruning=pruned(1).pruning.model_copy(  # type: ignore[union-attr]
        update={"rewind": 1, "variation": Variation(kind="other", draw=3)})),
    dense(method=PruneTrainSettings(share=0.2, interval=2, threshold=1e-4), neurons=Neurons(count="unit")),
]  # fmt: skip


def check_spec(content: Any) -> None:
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        text = explain(error)
        assert text
        assert len(text) < 20_000
        return
    again = Spec.model_validate(spec.model_dump(mode="json"))
    assert again == spec
    assert again.id == spec.id
    assert len(spec.title) < 10_000
    assert all(isinstance(value, str) for value in (spec.experiment, spec.trunk.id))


def test_specs(bench: Tally) -> None:
    for spec in SPECS:
        check_spec(spec.model_dump(mode="json"))
    spoilt = st.sampled_from(SPECS).flatmap(lambda spec: spoiled(spec.model_dump(mode="json")))
    fuzz(bench, "specifications", spoilt | values, check_spec)


# JSON files


def records() -> list[dict[str, Any]]:
    made = [example(spec) for spec in SPECS]
    made.append(example(dense(), status="failed", reason="nan", result=None, cost=None, history=()))
    return [record.model_dump(mode="json") for record in made]


def resealed(content: Any) -> bytes:
    """With the checksum that fits, if it can have one, so that the fields behind it are read."""
    if isinstance(content, dict):
        content = {name: value for name, value in content.items() if name != "checksum"}
        try:
            content["checksum"] = checksum(content)
        except ValueError:
            content["checksum"] = "0" * 64
    return as_json(content)


def identified(content: Any) -> Any:
    """A record with the id that fits its spec, if that is one."""
    if isinstance(content, dict):
        with suppress(ValueError):
            content["id"] = Spec.model_validate(content.get("spec")).id
    return content


def test_records(bench: Tally, tmp_path: Path) -> None:
    file, other = tmp_path / "record.json", tmp_path / "again.json"
    console = Console(file=io.StringIO(), width=200)

    def check(content: bytes) -> None:
        file.write_bytes(content)
        record = answer(lambda: read_record(file), DamagedRecord, str(file))
        if record is None:
            return
        write_record(other, record)
        assert read_record(other) == record
        print_record(record, console)
        assert len(runs_table([record])) == 1

    whole = records()
    for content in whole:
        check(resealed(content))
        assert read_record(file)
    spoilt = st.sampled_from(whole).flatmap(spoiled)
    inputs = (
        spoilt.map(identified).map(resealed)
        | spoilt.map(as_json)
        | st.sampled_from(whole).flatmap(lambda c: torn(resealed(c), JSON_PIECES))
        | values.map(as_json)
        | st.binary(max_size=40)
    )
    fuzz(bench, "records", inputs, check)


def test_latency_tables(bench: Tally, tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    whole = json.loads(samples.latency_table().to_json())

    def check(content: bytes) -> None:
        file.write_bytes(content)
        table = answer(lambda: read_table(file), ValueError, str(file))
        if table is None:
            return
        file.write_text(table.to_json())
        assert read_table(file) == table
        for calls in table.layers.values():
            for geometry in calls:
                assert table.seconds(geometry, 3, 5) == table.seconds(geometry, 3, 5)

    check(as_json(whole))
    inputs = spoiled(whole).map(resealed) | torn(as_json(whole), JSON_PIECES) | values.map(as_json)
    fuzz(bench, "latency tables", inputs, check)


def test_step_times(bench: Tally, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_speeds(tmp_path, samples.step_times())
    (file,) = measured.files(measured.speed_folder(tmp_path, "tiny"))
    whole = json.loads(file.read_bytes())

    def check(content: bytes) -> None:
        file.write_bytes(content)
        found = answer(lambda: read_speeds(tmp_path, "tiny"), ValueError, str(file))
        if found is not None:
            written = write_speeds(again, found[0])
            assert read_speeds(again, "tiny") == found
            written.unlink()  # another hardware's name is another file
            assert measured.slug(found[0].hardware)

    check(as_json(whole))
    inputs = spoiled(whole).map(resealed) | torn(as_json(whole), JSON_PIECES) | values.map(as_json)
    fuzz(bench, "step times", inputs, check)


def test_bench_records(bench: Tally, tmp_path: Path) -> None:
    file, other = tmp_path / "bench.json", tmp_path / "again.json"
    write_bench(file, bench_record())
    whole = json.loads(file.read_bytes())

    def check(content: bytes) -> None:
        file.write_bytes(content)
        found = answer(lambda: read_bench(file), ValueError, str(file))
        if found is not None:
            write_bench(other, found)
            assert read_bench(other) == found
            assert len(found.total()) == 2

    check(as_json(whole))
    inputs = spoiled(whole).map(resealed) | torn(as_json(whole), JSON_PIECES) | values.map(as_json)
    fuzz(bench, "the bench's record", inputs, check)


def test_json_is_read_as_it_was_written(bench: Tally) -> None:
    def check(content: Any) -> None:
        text = json.dumps(content)
        found = answer(lambda: read_json(text), ValueError)
        assert found is None or json.dumps(found) == text
        assert len(shown(content)) < 1000

    fuzz(bench, "JSON", values, check)


# YAML files


def yaml_inputs(whole: Any) -> st.SearchStrategy[bytes]:
    return (
        spoiled(whole).map(as_yaml)
        | spoiled(whole).map(as_json)
        | torn(as_yaml(whole), YAML_PIECES)
        | values.map(as_yaml)
        | st.lists(st.sampled_from(YAML_PIECES), max_size=20).map(b"".join)
    )


def test_manifests(bench: Tally, tmp_path: Path) -> None:
    for name, share in (("digits", 0.4), ("digits-cluttered", 0.3), ("cifar10", 0.3)):
        file = tmp_path / f"{name}.yaml"
        whole = yaml.safe_load((paths.MANIFESTS / f"{name}.yaml").read_text())

        def check(content: bytes, file: Path = file) -> None:
            file.write_bytes(content)
            manifest = answer(lambda: load_manifest(file), DataError, str(file))
            if manifest is not None:
                file.write_text(yaml.safe_dump(manifest.model_dump(mode="json")))
                again = load_manifest(file)
                assert again == manifest
                assert again.checksum == manifest.checksum
                root = Path("root").resolve()
                assert manifest.location(root).resolve().is_relative_to(root)

        check(as_yaml(whole))
        assert load_manifest(file)
        fuzz(bench, f"manifests, {name}", yaml_inputs(whole), check, share)


def test_profiles(bench: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "profiles" / "fuzzed.yaml"
    file.parent.mkdir()
    whole = yaml.safe_load((paths.PROFILES / "smoke.yaml").read_text())

    def check(content: bytes) -> None:
        file.write_bytes(content)
        profile = answer(lambda: load_profile("fuzzed"), ValueError, str(file))
        if profile is not None:
            assert Profile.model_validate(profile.model_dump(mode="json")) == profile
            spec = answer(profile.spec, ValueError)
            assert spec is None or spec.profile == "fuzzed"

    check(as_yaml(whole))
    assert load_profile("fuzzed")
    fuzz(bench, "profiles", yaml_inputs(whole), check, 0.8)


def test_claims(bench: Tally, tmp_path: Path) -> None:
    folders = samples.book(tmp_path)
    claims, paper = yaml.safe_load(samples.CLAIMS), yaml.safe_load(samples.PAPER)

    def check(content: tuple[str, bytes]) -> None:
        samples.book(tmp_path)
        (folders[0] / content[0]).write_bytes(content[1])
        found = answer(lambda: load_claims(*folders), ValueError, "claims.yaml", "paper_values.yaml")
        if found is not None:
            assert Claims.model_validate(found.model_dump(mode="json", exclude_defaults=True)) == found

    check(("claims.yaml", as_yaml(claims)))
    assert load_claims(*folders)
    inputs = yaml_inputs(claims).map(lambda content: ("claims.yaml", content))
    fuzz(bench, "claims", inputs, check, 0.8)
    inputs = yaml_inputs(paper).map(lambda content: ("paper_values.yaml", content))
    fuzz(bench, "the paper's values", inputs, check, 0.3)


# Tensors


def sealed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def packed(header: Any, body: bytes) -> bytes:
    """A safetensors file with any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def unpacked(payload: bytes) -> tuple[Any, bytes]:
    (length,) = struct.unpack("<Q", payload[:8])
    return json.loads(payload[8 : 8 + length]), payload[8 + length :]


def equal(first: Any, second: Any) -> bool:
    """Of one value and kind, through dicts and lists, tensors and floats bit for bit."""
    if isinstance(first, Tensor):
        return (first.dtype, first.shape) == (second.dtype, second.shape) and torch.equal(
            first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8)
        )
    if isinstance(first, dict):
        pairs = zip(first.items(), second.items(), strict=True)
        return all(equal(a, b) and equal(x, y) for (a, x), (b, y) in pairs)
    if isinstance(first, list):
        return all(equal(a, b) for a, b in zip(first, second, strict=True))
    return type(first) is type(second) and repr(first) == repr(second)


STATE = {
    "next_epoch": 2,
    "model": {"conv.weight": torch.arange(6.0).reshape(2, 3), "bn.num_batches_tracked": torch.tensor(5)},
    "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2, dtype=torch.bfloat16)}}, "lr": 0.1},
    "kept": [torch.tensor([True, False]), None, "text", float("nan")],
}


@st.composite
def checkpoints(draw: st.DrawFn, whole: bytes) -> bytes:
    """Checkpoints spoiled in the file, the header or the tree, most of them with the checksum that fits."""
    payload = whole[65:]
    kind = draw(st.sampled_from(("tree", "tree", "tree", "header", "header", "payload", "file", "any")))
    if kind == "file":
        return draw(torn(whole))
    if kind == "any":
        return draw(st.binary(max_size=200))
    if kind == "payload":
        return sealed(draw(torn(payload, JSON_PIECES)))
    header, body = unpacked(payload)
    if kind == "header":
        return sealed(packed(draw(spoiled(header)), body))
    begin, end = header["tree"]["data_offsets"]
    tree = json.loads(body[begin:end])
    text = as_json(draw(spoiled(tree) | values)) if draw(st.integers(0, 4)) else draw(
        torn(body[begin:end], JSON_PIECES))  # fmt: skip
    tensors = {name: torch.zeros(2) for name in header if name != "tree"}
    tensors["tree"] = torch.frombuffer(bytearray(text or b" "), dtype=torch.uint8)
    return sealed(serialise(tensors))


def test_checkpoints(bench: Tally, tmp_path: Path) -> None:
    file, other = tmp_path / "0002.ckpt", tmp_path / "again.ckpt"
    checkpoint.save(file, STATE)
    whole = file.read_bytes()

    def check(content: bytes) -> None:
        file.write_bytes(content)
        try:
            state = checkpoint.load(file)
        except checkpoint.DamagedCheckpoint as error:
            assert str(file) in str(error)  # noqa: PT017
            return
        checkpoint.save(other, state)
        assert equal(checkpoint.load(other), state)

    check(whole)
    fuzz(bench, "checkpoints", checkpoints(whole), check)


class Small(nn.Module):
    """Quick to build."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)


@st.composite
def models(draw: st.DrawFn, whole: bytes) -> bytes:
    """Saved models spoiled in the file, the header or their tensors, the last with the checksum that fits."""
    kind = draw(st.sampled_from(("tensors", "tensors", "header", "file", "any")))
    if kind == "file":
        return draw(torn(whole, JSON_PIECES))
    if kind == "any":
        return draw(st.binary(max_size=200))
    header, body = unpacked(whole)
    if kind == "header":
        return packed(draw(spoiled(header)), body)
    made = {}
    for name, tensor in Small().state_dict().items():
        change = draw(st.sampled_from(("keep", "keep", "keep", "drop", "rename", "shape", "type")))
        shape = draw(st.lists(st.integers(0, 5), max_size=5)) if change == "shape" else list(tensor.shape)
        dtype = draw(st.sampled_from((torch.float64, torch.int8, torch.bool, torch.bfloat16))) if (
            change == "type") else tensor.dtype  # fmt: skip
        if change != "drop":
            made[name + ("x" if change == "rename" else "")] = torch.zeros(shape, dtype=dtype)
    metadata = {
        "format": "pat-pruned-model-1", "sha256": _digest(made),
        "notes": json.dumps(draw(st.just({"a": "b"}) | values)),
    }  # fmt: skip
    return serialise(made, metadata=metadata)


def test_saved_models(bench: Tally, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_pruned(Small(), file, {"architecture": "small"})
    whole = file.read_bytes()

    def check(content: bytes) -> None:
        file.write_bytes(content)
        notes = answer(lambda: read_notes(file), ValueError, str(file))
        assert notes is None or all(isinstance(text, str) for item in notes.items() for text in item)
        model = Small()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = answer(lambda: load_pruned(model, file), ValueError, str(file))
        if found is None:
            assert equal(dict(model.state_dict()), before)
        else:
            save_pruned(model, file)
            assert equal(dict(load_pruned(Small(), file).state_dict()), dict(model.state_dict()))

    check(whole)
    fuzz(bench, "saved models", models(whole), check)


# The command line


def test_ids_and_names_on_the_command_line(
    bench: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    known = [example(spec) for spec in SPECS]
    for record in known:
        store.write(record)
    ids = [record.id[:length] for record in known for length in (1, 3, 12, 64)]
    names = st.text(st.characters(), max_size=20) | st.sampled_from(ODD) | st.sampled_from(ids)
    commands = st.sampled_from([
        ["show"], ["data", "verify"], ["data", "unpack"], ["status", "--store"],
        ["sweep", "--preset", "nothing", "--profile"], ["run", "--profile", "smoke", "--architecture"],
        ["sweep", "--profile", "smoke", "--preset"], ["sweep", "--profile", "smoke", "--experiment"],
    ])  # fmt: skip

    def check(given: tuple[list[str], str]) -> None:
        command, name = given
        split = [*command, name] if command[-1].startswith("--") else [*command, "--", name]
        result = CliRunner().invoke(app, split)
        assert result.exit_code in (0, 2), (split, result.exception, result.output)
        assert isinstance(result.exception, SystemExit | None)
        if result.exit_code == 0:
            assert command[0] in ("show", "status", "data")

    check((["show"], known[0].id))
    fuzz(bench, "names on the command line", st.tuples(commands, names), check, 0.25)


def test_the_bench_sees_what_is_against_a_contract(tmp_path: Path) -> None:
    """Or every reader would pass."""
    mine = Tally(long=False)

    def careless(content: Any) -> None:
        answer(lambda: content["spec"]["seed"] + 1, ValueError)

    with pytest.raises((TypeError, KeyError, ExceptionGroup)):
        fuzz(mine, "a careless reader", values, careless)
    tried, survived = mine.counts["fuzzing", "a careless reader"]
    assert survived < tried
    with pytest.raises(AssertionError):
        answer(lambda: int("x"), ValueError, "a file's name")
