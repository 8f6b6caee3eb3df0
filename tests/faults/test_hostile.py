"""Hostile and wrong input: what is read is data and never run, and nothing leads out of its folder."""

import ast
import base64
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import torch
import yaml
from conftest import Tally
from networks import Plain
from papermill.translators import PythonTranslator
from PIL import Image
from safetensors.torch import save as serialise
from test_data import write_images
from test_record import example
from tiny import dense, pruned
from typer.testing import CliRunner, Result

import pat as package
from pat import load_pruned, read_notes, save_pruned
from pat.cli import app
from pat.files import paths
from pat.files.errors import DataError
from pat.files.plain import printable, shown
from pat.latency.table import LatencyTable
from pat.study.claims.claims import load_claims
from pat.study.paper.networks import read_networks
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import LatencyAware
from pat.study.report import executing
from pat.study.runs.latency_tables import table_of
from pat.study.store import Store, measured, open_store
from pat.study.store.bench import read_bench
from pat.study.store.measured import find_table, read_table
from pat.study.store.merging import merge
from pat.study.store.publishing import publish, publish_measurements
from pat.study.store.record import claims_checksum, read_record, write_record
from pat.study.store.speeds import read_speeds, write_speeds
from pat.training import checkpoint, data
from pat.training.data import load_manifest, unpack, unpacking

torch.set_num_threads(1)

SOURCE = Path(package.__file__).parent
DIGITS = (paths.MANIFESTS / "digits.yaml").read_text()
SMOKE = (paths.PROFILES / "smoke.yaml").read_text()
SOON = 10.0
"""Seconds within which anything hostile is refused, on a busy machine."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pat(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def assert_refused(*arguments: str, message: str = "") -> None:
    """Exit code 2 and one line."""
    result = pat(*arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert message in result.stderr


def raises(error: type[Exception], call: Callable[[], object], *words: str) -> None:
    """The call ends soon, with that error, and the message has the words."""
    begin = time.monotonic()
    with pytest.raises(error) as caught:
        call()
    assert time.monotonic() - begin < SOON
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 20_000


def listed(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Pickles


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def traps(target: Path) -> dict[str, bytes]:
    """Pickles in all the clothes that Python gives them."""
    by_torch, by_numpy, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"state": Trap(target)}, by_torch)
    np.save(by_numpy, np.array([Trap(target)], dtype=object), allow_pickle=True)
    kinds = {f"{split}_{kind}": np.array([Trap(target)], object) for split in ("train", "validation", "test")
             for kind in ("images", "labels")}  # fmt: skip
    np.savez(archive, **kinds)  # type: ignore[arg-type]
    return {
        "old": pickle.dumps(Trap(target), protocol=0),
        "new": pickle.dumps(Trap(target)),
        "torch": by_torch.getvalue(),
        "npy": by_numpy.getvalue(),
        "npz": archive.getvalue(),
    }


def sealed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def test_the_traps_would_go_off(tmp_path: Path) -> None:
    """Or all tests with them would say nothing."""
    target = tmp_path / "was run"
    content = traps(target)
    for load in (
        lambda: pickle.loads(content["old"]),
        lambda: pickle.loads(content["new"]),
        lambda: torch.load(io.BytesIO(content["torch"]), weights_only=False),
        lambda: np.load(io.BytesIO(content["npy"]), allow_pickle=True),
        lambda: np.load(io.BytesIO(content["npz"]), allow_pickle=True)["train_images"],
    ):
        load()
        assert target.exists()
        target.unlink()


def test_pickles_in_the_place_of_other_files_are_never_run(bench: Tally, tmp_path: Path) -> None:
    target, store = tmp_path / "was run", Store(tmp_path / "runs")
    spec = pruned(2)
    store.write(example(spec))
    folder = store.folder(spec)
    table = measured.latency_folder(store.root, "tiny") / "a.json"
    speed = measured.speed_folder(store.root, "tiny") / "a.json"
    book, chapters = samples.book(tmp_path)
    places: dict[str, tuple[Path, type[Exception], Callable[[], object]]] = {
        "a checkpoint": (file := folder / "epochs" / "0002.ckpt", checkpoint.DamagedCheckpoint,
                         lambda file=file: checkpoint.load(file)),
        "scores": (file := folder / "scores.ckpt", checkpoint.DamagedCheckpoint,
                   lambda file=file: checkpoint.load(file)),
        "a saved model": (file := folder / "model.safetensors", ValueError,
                          lambda file=file: load_pruned(Plain(), file)),
        "notes": (folder / "model.safetensors", ValueError, lambda file=file: read_notes(file)),
        "a record": (file := folder / "record.json", ValueError, lambda file=file: read_record(file)),
        "a latency table": (table, ValueError, lambda: read_table(table)),
        "step times": (speed, ValueError, lambda: read_speeds(store.root, "tiny")),
        "the bench's record": (file := tmp_path / "bench.json", ValueError,
                               lambda file=file: read_bench(file)),
        "a manifest": (file := tmp_path / "pickled.yaml", DataError, lambda file=file: load_manifest(file)),
        "a profile": (tmp_path / "profiles" / "pickled.yaml", ValueError, lambda: load_profile("pickled")),
        "the claims": (book / "claims.yaml", ValueError, lambda: load_claims(book, chapters)),
        "the paper's values": (book / "paper_values.yaml", ValueError, lambda: Paper.read(book)),
    }  # fmt: skip
    for payload in traps(target).values():
        for what, (place, error, read) in places.items():
            with bench.trial("hostile", f"a pickle in the place of {what}"):
                kept = place.read_bytes() if place.exists() else None
                place.parent.mkdir(parents=True, exist_ok=True)
                for content in (payload, sealed(payload)):
                    place.write_bytes(content)
                    raises(error, read, place.name)
                if kept is not None:
                    place.write_bytes(kept)
                assert not target.exists()
    # Whoever goes on from a store sets them aside.
    for name in ("record.json", "epochs/0002.ckpt"):
        with bench.trial("hostile", "a pickle in a store that is gone on from"):
            (folder / name).write_bytes(sealed(traps(target)["new"]))
            assert store.record(spec) is None if name == "record.json" else True
            assert store.load_checkpoint(spec, 2) is None
            assert not target.exists()


def test_pickles_in_the_place_of_images_are_never_run(bench: Tally, tmp_path: Path) -> None:
    target, root = tmp_path / "was run", tmp_path / "root"
    for split in ("train", "val"):
        write_images(root / "pictures", split)
    manifest = load_manifest(data.add_folder(root / "pictures", "pictures", tmp_path / "m"))
    whole = list(data.open_dataset(manifest, root=root, device="cpu").eval_batches("test", batch_size=9))
    (cache,) = (root / ".pat-cache").iterdir()
    for payload in traps(target).values():
        with bench.trial("hostile", "a pickle in the place of the data cache"):
            cache.write_bytes(payload)
            found = list(
                data.open_dataset(manifest, root=root, device="cpu").eval_batches("test", batch_size=9)
            )
            assert all(torch.equal(a[0], b[0]) for a, b in zip(found, whole, strict=True))
            assert not target.exists()
    image = root / "pictures" / "train" / "red" / "1.png"
    listing = tmp_path / "m" / "pictures.files.gz"
    cifar = load_manifest("cifar10")
    batch = cifar.location(root) / "test_batch.bin"
    batch.parent.mkdir()
    for payload in traps(target).values():
        with bench.trial("hostile", "a pickle in the place of an image"):
            kept = image.read_bytes()
            image.write_bytes(payload)
            assert [p.kind for p in data.verify(manifest, root)] == ["damaged"]
            image.write_bytes(kept)
            assert not target.exists()
        with bench.trial("hostile", "a pickle in the place of a file list"):
            kept = listing.read_bytes()
            for content in (payload, gzip.compress(payload)):
                listing.write_bytes(content)
                try:  # a list without a name of this group lists nothing
                    assert data.verify(manifest, root) == []
                except DataError as error:
                    assert str(listing) in str(error)  # noqa: PT017
            listing.write_bytes(kept)
            assert not target.exists()
        with bench.trial("hostile", "a pickle in the place of a CIFAR file"):
            padded = payload + bytes(-len(payload) % 3073)
            for content in (payload, padded):
                batch.write_bytes(content)
                found = {p.path.name: p for p in data.verify(cifar, root)}
                assert "test_batch.bin" in found or len(content) % 3073 == 0
                raises(DataError, lambda: data.open_dataset(cifar, root=root, device="cpu"))
            assert not target.exists()


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle", "code"}
FORBIDDEN_CALLS = {
    "torch.load", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "os.system", "os.popen",
    "np.fromfile", "shutil.unpack_archive", "pd.read_pickle", "joblib.load", "tempfile.mktemp",
    "builtins.eval", "builtins.exec",
}  # fmt: skip
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}


def offences(source: str) -> list[str]:
    """What in a source could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"from {node.module}")
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{a.name}" for a in node.names
                      if f"{node.module}.{a.name}" in FORBIDDEN_CALLS]  # fmt: skip
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in FORBIDDEN_CALLS | FORBIDDEN_NAMES:
            found.append(name)
        if name.endswith((".extract", ".extractall")):
            found.append(name)
        if options.get("shell", "False") != "False":
            found.append(f"{name} with a shell")
        if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append(f"{name} with pickles")
        if options.get("allow_pickle", "False") != "False" or options.get("weights_only") == "False":
            found.append(f"{name} with pickles")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "torch.load(f)", "eval(x)", "exec(x)", "yaml.load(t, L)",
     "from yaml import load", "subprocess.run(x, shell=True)", "np.load(f)", "np.load(f, allow_pickle=True)",
     "tar.extractall(x)", "os.system(x)"],
)  # fmt: skip
def test_what_could_run_is_seen(source: str) -> None:
    assert offences(source)


def test_nothing_in_the_source_could_run_what_it_reads(bench: Tally) -> None:
    for file in sorted(SOURCE.rglob("*.py")):
        with bench.trial("hostile", "sources looked through for pickles, eval, exec, shells and unsafe YAML"):
            assert offences(file.read_text(encoding="utf-8")) == [], file


# YAML


def yaml_attacks(target: Path) -> dict[str, list[str]]:
    """Values that no reader may take."""
    touch = f"touch {target}"
    laughs = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    merged = "\n".join(f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 12))
    return {
        "that calls Python": [
            f"x: !!python/object/apply:os.system ['{touch}']",
            f"x: !!python/object/new:os.system ['{touch}']",
            f"x: !!python/object/apply:subprocess.check_output [['touch', '{target}']]",
            f"!!python/object/apply:os.system ['{touch}']: x",
            "x: !!python/name:os.system ''",
            "x: !!python/module:os ''",
            "x: !!python/tuple [1]",
            "x: !ruby/object:Kernel {}",
        ],
        "whose aliases stand for billions of values": [
            f"a0: &a0 [x, x, x, x, x, x, x, x, x]\n{laughs}",
            f"b0: &b0 {{k: v}}\n{merged}",
            "x: &x [*x]",
            "x: &x {y: *x}",
        ],
        "nested without end": [
            "x: " + "[" * 100_000,
            "x: " + "{a: " * 100_000,
            "x: " + "[" * 500 + "]" * 500,
            "\n".join(" " * i + "x:" for i in range(400)),
            "- " * 100_000,
        ],
        "with a key twice": ["x: 1\nx: 2", "x: {y: 1, y: 2}", "x: &x {y: 1}\nz: {<<: *x, <<: *x}"],
        "with a number of thousands of digits": [
            "x: " + "9" * 10_000,
            "x: 0x" + "f" * 10_000,
            "x: " + ":".join(["1"] * 3000),
            "x: 1." + "0" * 10_000,
        ],
        "with values that are not what their tags say": [
            "x: !!bool maybe", "x: !!int ''", "x: !!float ''", "x: !!timestamp never", "x: 2024-99-99",
            "x: !!binary é", "x: !!int [1]", "? [x]\n: y", "x: !!omap [1]", "x: !!pairs 3", "x: \"\\ud8\"",
        ],
        "of another encoding, or none": ["\x00", "x: \ud800", "x: \x07", "%YAML 9.9\n---\nx: 1",
        "---\nx\n---\ny"],
        "that is longer than any of ours": ["x: y # " + "z" * 600_000],
    }  # fmt: skip


def yaml_readers(folder: Path) -> dict[str, tuple[Callable[[str], object], str]]:
    """Each reader of YAML, taking the text, and what its errors name."""
    book, chapters = samples.book(folder)
    params = folder / "chapters" / "params" / "digits"
    params.mkdir(parents=True, exist_ok=True)
    (folder / "profiles").mkdir(exist_ok=True)

    def writing(place: Path, read: Callable[[], object]) -> Callable[[str], object]:
        def run(text: str) -> object:
            kept = place.read_bytes() if place.exists() else None
            place.write_bytes(text.encode("utf-8", "surrogatepass"))
            try:
                return read()
            finally:
                place.unlink() if kept is None else place.write_bytes(kept)

        return run

    manifest, profile = folder / "hostile.yaml", folder / "profiles" / "hostile.yaml"
    parameters = params / "oracle_sweep.yaml"
    return {
        "a profile": (writing(profile, lambda: load_profile("hostile")), "hostile.yaml"),
        "a manifest": (writing(manifest, lambda: load_manifest(manifest)), "hostile.yaml"),
        "the claims": (
            writing(book / "claims.yaml", lambda: load_claims(book, chapters)), "claims.yaml"),
        "the paper's values": (
            writing(book / "paper_values.yaml", lambda: Paper.read(book)), "paper_values.yaml"),
        "the networks' costs": (
            writing(book / "networks.yaml", lambda: read_networks(book)), "networks.yaml"),
        "a notebook's parameters": (
            writing(parameters, lambda: executing.read_parameters("oracle_sweep", "digits", chapters)),
            "oracle_sweep.yaml"),
    }  # fmt: skip


TAGGED = (
    "that calls Python",
    "with values that are not what their tags say",
    "with a number of thousands of digits",
)
"""The paper's digits are read as texts, whatever their tags; a tag of Python's is a text, too."""


def test_hostile_yaml_is_refused_by_every_reader(bench: Tally, tmp_path: Path) -> None:
    target = tmp_path / "was run"
    for number, (what, (read, name)) in enumerate(yaml_readers(tmp_path).items()):
        for kind, texts in yaml_attacks(target).items():
            # All readers read by one function; the large texts take a second each.
            some = texts if bench.long or number < 2 else [text for text in texts if len(text) < 50_000]
            for text in some:
                with bench.trial("hostile", f"YAML {kind}"):
                    if what == "the paper's values" and kind in TAGGED:
                        try:
                            read(text)
                        except ValueError as error:
                            assert name in str(error)  # noqa: PT017
                    else:
                        raises(ValueError, lambda read=read, text=text: read(text), name)
                    assert not target.exists(), (what, text)


def test_hostile_yaml_on_the_command_line_is_refused(
    bench: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "was run"
    yaml_readers(tmp_path)
    monkeypatch.setattr(executing, "NOTEBOOKS", tmp_path / "chapters")
    (tmp_path / "chapters" / "params" / "digits" / "oracle_sweep.yaml").touch()
    for kind, texts in yaml_attacks(target).items():
        for text in texts:
            with bench.trial("hostile", f"YAML {kind}"):
                arguments = ["oracle_sweep", "--profile", "digits", "-p", "x", text]
                try:
                    code: object = executing.main(arguments)
                except SystemExit as end:  # a text like an option's
                    code = end.code
                assert code == 2
                said = capsys.readouterr().err
                assert "error: " in said
                assert len(said) < 3000
                assert not target.exists()


def test_wrong_values_in_yaml_are_named(bench: Tally, tmp_path: Path) -> None:
    read = {name: reader for name, (reader, _) in yaml_readers(tmp_path).items()}
    manifest = DIGITS.replace("name: digits\n", "name: hostile\n")
    assert read["a manifest"](manifest) is not None
    assert read["a profile"](SMOKE) is not None
    assert read["the claims"](samples.CLAIMS) is not None
    wrong: dict[str, list[tuple[str, str, str]]] = {
        "a manifest": [
            (manifest, "image_size: 8", f"image_size: {value}")
            for value in (".nan", "1e999", "8.5", "-8", "0x" + "f" * 90, "9" * 90, "[8]", "'8\\0'", "true")
        ] + [(manifest, "mean: [", "mean: [.nan, "), (manifest, "std: [", "std: [.inf, "),
             (manifest, "title:", "1: x\ntitle:"), (manifest, "title:", "~: x\ntitle:"),
             (manifest, "splits:", "archives: {../a.tar: 'md5:00'}\nsplits:"),
             (manifest, "splits:", "archives: {a.tar: 'shake_128:00'}\nsplits:"),
             (manifest, "splits:", "archives: {a.tar: 'md5'}\nsplits:"),
             (manifest, "  all:", "  some:"), (manifest, "layout: embedded", "layout: ../embedded")],
        "a profile": [
            (SMOKE, "epochs:", f"epochs: {value}\n  epochs_:")
            for value in (".nan", "1e999", "-1", "0", "3.5", "x", "[1]", "{}", "9.0e+99")
        ] + [(SMOKE, "dataset:", "1: x\ndataset:"), (SMOKE, "dataset:", "name: ../../x\ndataset:"),
             (SMOKE, "dataset:", "name: other\ndataset:"), (SMOKE, "purpose:", "purpose_:")],
        "the claims": [
            (samples.CLAIMS, "level: 0.05", f"level: {value}") for value in (".nan", "2", "x", "[]", "-.inf")
        ] + [(samples.CLAIMS, "chapter: oracle_sweep", f"chapter: {value}")
             for value in ("../chapters/oracle_sweep", "/etc/passwd", "'a\\0b'", "x" * 5000, "~", "1")]
          + [(samples.CLAIMS, "ratio: 0.5", f"ratio: {value}") for value in (".nan", "x", "[1]", "9" * 90)]
          + [(samples.CLAIMS, "greater: 0", "greater: .nan"),
             (samples.CLAIMS, "ResNet50: table3.30.post_trained", "1: table3.30.post_trained"),
             (samples.CLAIMS, "table3.30.post_trained", "table3.31.post_trained")],
    }  # fmt: skip
    for what, edits in wrong.items():
        for text, old, new in edits:
            with bench.trial("hostile", "a wrong value in a YAML file"):
                assert old in text, old
                changed = text.replace(old, new, 1)
                name = "claims.yaml" if what == "the claims" else "hostile.yaml"
                raises(ValueError, lambda what=what, changed=changed: read[what](changed), name)


def test_claims_that_cannot_be_read_cost_no_run_its_record(bench: Tally, tmp_path: Path) -> None:
    for number, text in enumerate(("a: [", "x: &x [*x]", "x: !!python/name:os.system ''", "x: 2024-01-01")):
        with bench.trial("hostile", "claims that cannot be read while a run ends"):
            book = tmp_path / str(number)
            book.mkdir()
            (book / "claims.yaml").write_text(text)
            assert claims_checksum(book) is None


# Parameters of notebooks

STRINGS = [
    "'", '"', "'''", '"""', "\\", "\\'", '\\"', '\\"""', "\n", "\r\n", "\t", "\0", "\x1b[31m", "${HOME}",
    "{x}",
    "{{ x }}", "%s", "%%writefile x", "!touch x", "`touch x`", "$(touch x)", "# %%", "\u2028", "\u2029",
    "\x85",
    "\ufeff", "😀", "\u202e", "\\N{BULLET}", "\\u0041", "\\x41", "a\\", 'x"\nimport os\nos.mkdir("run")\n"',
    "x'; import os; os.mkdir('run') #", '"); import os; os.mkdir("run") #',
    '""" + __import__("os").name + """',
    "\\\\" * 3 + '"', "-" * 5000,
]  # fmt: skip
WITH_TEXTS = """# %% tags=["parameters"]
profile = "digits"
texts = []
anything = None

# %%
import json
print(json.dumps([texts, anything]))
"""
EVIL = b'" + str(__import__("pathlib").Path("was run").touch()) + "'


@pytest.fixture
def chapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a notebook that says what it was given."""
    folder = tmp_path / "notebooks"
    (folder / "params" / "digits").mkdir(parents=True)
    (folder / "texts.py").write_text(WITH_TEXTS)
    (folder / "params" / "digits" / "texts.yaml").touch()
    monkeypatch.setattr(executing, "NOTEBOOKS", folder)
    return folder


def test_parameters_arrive_in_a_notebook_as_they_are(bench: Tally, chapters: Path, tmp_path: Path) -> None:
    wanted = [STRINGS, {text: [text] for text in STRINGS}]
    arguments = ["texts", "--profile", "digits", "--out", str(tmp_path / "out")]
    for name, value in zip(("texts", "anything"), wanted, strict=True):
        arguments += ["-p", name, yaml.safe_dump(value, allow_unicode=False, width=10_000)]
    assert executing.main(arguments) == 0
    done = json.loads((tmp_path / "out" / "texts.ipynb").read_text(encoding="utf-8"))
    printed = "".join("".join(o["text"]) for c in done["cells"] for o in c.get("outputs", []))
    texts, keyed = json.loads(printed)
    for number, text in enumerate(STRINGS):
        with bench.trial("hostile", "text that would end a string, as a notebook's parameter"):
            assert texts[number] == text
            assert keyed[text] == [text]
    assert listed(tmp_path) & {"run", "notebooks/run", "x", "was run"} == set()


def test_parameters_become_literals_of_the_same_value(bench: Tally) -> None:
    for text in STRINGS:
        with bench.trial("hostile", "text that would end a string, written as source"):
            tree = ast.parse(PythonTranslator.codify({"text": text, "more": {text: [text]}}))
            assert [type(node) for node in tree.body] == [ast.Assign, ast.Assign]
            values = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
            assert values == [text, {text: [text]}]


def test_values_without_a_literal_would_run(tmp_path: Path) -> None:
    """papermill alone writes bytes into the source so that they end their own string."""
    exec(PythonTranslator.codify({"texts": [EVIL]}))
    assert (tmp_path / "was run").exists()


def test_parameters_that_are_no_literals_are_refused(
    bench: Tally, chapters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = f"!!binary {base64.b64encode(EVIL).decode()}"
    values = [evil, f"[{evil}]", f"[[{evil}]]", f"{{x: {evil}}}", f"{{? {evil} : x}}", "!!set {x}",
    "2024-01-01",
              "[2024-01-01 10:00:00]", "{1: x}", "{~: x}", "{2024-01-01: x}"]  # fmt: skip
    call = ["texts", "--profile", "digits", "--out", str(tmp_path / "out")]
    for value in values:
        for name in ("texts", "anything"):
            with bench.trial("hostile", "a notebook's parameter that has no literal"):
                assert executing.main([*call, "-p", name, value]) == 2
                assert "'texts'" in capsys.readouterr().err
            with bench.trial("hostile", "a notebook's parameter that has no literal"):
                (chapters / "params" / "digits" / "texts.yaml").write_text(f"{name}: {value}\n")
                assert executing.main(call) == 2
                assert "'texts'" in capsys.readouterr().err
                (chapters / "params" / "digits" / "texts.yaml").write_text("")
    keys = ["x = 1; import os", "import os", "os.name", "x y", "", "__import__('os')", "texts ", "class",
    "1x",
            "texts\nimport os", "téxts"]  # fmt: skip
    for key in keys:
        with bench.trial("hostile", "a notebook's parameter whose name is none"):
            assert executing.main([*call, "-p", key, "1"]) == 2
            assert "no parameter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "was run").exists()


# Paths

PATHS = ["../x", "../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "a\\..\\b", "~/x", "a\0b",
"C:x", "",
         "x" * 300, "*", "[", "?", "$(touch x)", "--help", "\u2044etc", "....//x", "\n"]  # fmt: skip


def test_names_that_are_paths_lead_nowhere(bench: Tally, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    os.chdir(inside)
    for name in ("x", "passwd"):  # what a path that works would find
        (tmp_path / "a" / f"{name}.yaml").write_text(SMOKE)
    store = Store(inside / "runs")
    store.write(example())
    (inside / "profiles").mkdir()
    before = listed(tmp_path)
    for name in PATHS:
        with bench.trial("hostile", "a path as the name of a profile"):
            raises(ValueError, lambda name=name: load_profile(name), "unknown profile")
        if name and "/" not in name:
            with bench.trial("hostile", "a path as the name of a dataset"):
                raises(DataError, lambda name=name: load_manifest(name))
        with bench.trial("hostile", "a path as the name of an architecture"):
            profile = load_profile("smoke")
            raises(ValueError, lambda name=name, profile=profile: profile.spec(architecture=name))
            raises(ValueError, lambda name=name, profile=profile: table_of(profile, store, name),
                   "unknown architecture")  # fmt: skip
        with bench.trial("hostile", "a path as the id of a run"):
            found = pat("show", "--store", "runs", "--", name)
            assert found.exit_code == (0 if name == "" else 2), found.output
        with bench.trial("hostile", "a path as the name of a notebook or its profile"):
            raises(ValueError, lambda name=name: executing.read_parameters(name, "digits"))
            raises(ValueError, lambda name=name: executing.read_parameters("oracle_sweep", name))
        with bench.trial("hostile", "a path in a run's specification"):
            raises(ValueError, lambda name=name: dense(profile=name))
            raises(ValueError, lambda name=name: LatencyAware(weight=1, table=name))
        with bench.trial("hostile", "a path in step times"):
            raises(ValueError, lambda name=name: samples.step_times(name))
    assert listed(tmp_path) == before


def test_manifests_name_nothing_outside_the_data_root(bench: Tally, tmp_path: Path) -> None:
    fields: dict[str, Callable[[str], dict[str, Any]]] = {
        "folder": lambda path: {"folder": path},
        "file_list": lambda path: {"file_list": path},
        "archives": lambda path: {"archives": {path: "md5:00"}},
        "paths": lambda path: {"groups": {"all": {"count": 1797, "paths": [path]}}},
        "name": lambda path: {"name": path},
    }
    bad = ["../x", "/etc", "a/../../b", "a\\b", "~/x", "~root/x", "a\0b", "C:x", "..", "a/.."]
    for field, change in fields.items():
        for path in bad:
            with bench.trial("hostile", f"a path in a manifest's {field} that leads out of its folder"):
                file = tmp_path / "digits.yaml"
                file.write_text(yaml.safe_dump(yaml.safe_load(DIGITS) | change(path)))
                raises(DataError, lambda file=file: load_manifest(file), str(file), field)


def test_records_are_published_only_below_the_target(bench: Tally, tmp_path: Path) -> None:
    store, target = Store(tmp_path / "runs"), tmp_path / "a" / "results"
    record = example()
    store.write(record)
    file = store.file(record.spec)
    for profile in ("../escaped", "/tmp/escaped", "..", "a/b", ".hidden"):
        with bench.trial("hostile", "a record whose profile is a path"):
            content = json.loads(file.read_text())
            del content["checksum"]
            content["spec"]["profile"] = profile
            spec = {**content["spec"]}
            content["id"] = hashlib.sha256(json.dumps(spec).encode()).hexdigest()
            text = json.dumps(content, sort_keys=True, separators=(",", ":"))
            content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
            odd = store.root / content["id"] / "record.json"
            odd.parent.mkdir(exist_ok=True)
            odd.write_text(json.dumps(content))
            assert publish(store.records(), target) in ([], [record])
            assert {path.parent for path in (tmp_path / "a").rglob("*.json")} == {target / "tiny"}
            assert not (tmp_path / "escaped").exists()


def test_measurements_are_read_before_they_are_published(bench: Tally, tmp_path: Path) -> None:
    source, target = tmp_path / "runs", tmp_path / "results"
    secret = tmp_path / "secret"
    secret.write_text("for nobody else")
    folder = measured.latency_folder(source, "tiny")
    folder.mkdir(parents=True)
    with bench.trial("hostile", "a link to a secret in the place of a latency table"):
        (folder / "a.json").symlink_to(secret)
        raises(ValueError, lambda: publish_measurements(source, target), "a.json")
        assert not target.exists()
        (folder / "a.json").unlink()
    with bench.trial("hostile", "step times in another profile's folder"):
        file = write_speeds(source, samples.step_times("other"))
        place = measured.speed_folder(source, "tiny") / file.name
        place.parent.mkdir(parents=True)
        file.rename(place)
        raises(ValueError, lambda: read_speeds(source, "tiny"), str(place), "of profile 'other'")
        raises(ValueError, lambda: publish_measurements(source, target), str(place))
        place.unlink()
    with bench.trial("hostile", "a latency table that is looked up by a damaged neighbour"):
        (folder / "b.json").write_text(samples.latency_table().to_json())
        assert find_table(source, "tiny", samples.latency_table().checksum) == samples.latency_table()
        assert publish_measurements(source, target) == 1


def test_links_and_odd_folders_in_a_store(bench: Tally, tmp_path: Path) -> None:
    outside, store = Store(tmp_path / "other"), Store(tmp_path / "runs")
    (record,) = [example()]
    outside.write(record)
    kept = outside.checkpoint_path(record.spec, 2)
    kept.parent.mkdir()
    kept.write_bytes(b"of another store")
    store.root.mkdir()
    with bench.trial("hostile", "a link in a store to another store's run"):
        (store.root / record.id).symlink_to(outside.folder(record.spec))
        assert store.records() == [record]  # reading harms nobody
        store.collect_garbage()
        assert kept.exists()
        (store.root / record.id).unlink()
    with bench.trial("hostile", "a link in a run to another store's checkpoints"):
        store.write(record)
        (store.folder(record.spec) / "epochs").symlink_to(kept.parent)
        store.collect_garbage()
        assert kept.exists()
        (store.folder(record.spec) / "epochs").unlink()
    for name in ("x", "..hidden", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n", "runs.csv.d"):
        with bench.trial("hostile", "a folder in a store whose name is no id"):
            folder = store.root / name
            (folder / "epochs").mkdir(parents=True)
            (folder / "epochs" / "0001.ckpt").touch()
            write_record(folder / "record.json", record)
            assert store.records() == [record]
            assert store.unfinished() == []
            store.collect_garbage()
            assert (folder / "epochs" / "0001.ckpt").exists()
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "nothing"):
        with bench.trial("hostile", "a pipe, a device, a folder or a dead link in the place of a file"):
            file, ckpt = store.file(record.spec), store.checkpoint_path(record.spec, 3)
            ckpt.parent.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)
            for place in (file, ckpt):
                place.symlink_to(odd)
            assert store.record(record.spec) is None
            assert store.load_checkpoint(record.spec, 3) is None
            for place in (file, ckpt):
                place.unlink(missing_ok=True)
    for odd in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "nothing"):
        with bench.trial("hostile", "a pipe, a device, a folder or a dead link in a store that is merged"):
            store.write(record)
            place = store.folder(record.spec) / "model.safetensors"
            place.symlink_to(odd)
            begin, target = time.monotonic(), Store(tmp_path / "merged")
            assert merge(store, target).conflicts == []
            assert target.records() == [record]
            assert not (target.folder(record.spec) / "model.safetensors").exists()
            assert time.monotonic() - begin < SOON
            place.unlink()
    for command in (["status"], ["show", "0"], ["gc"], ["results", "table"], ["sweep", "--profile", "smoke"]):
        with bench.trial("hostile", "a file in the place of a store"):
            (tmp_path / "file").touch()
            assert_refused(*command, "--store", str(tmp_path / "file"), message="is not a folder")


def test_links_and_odd_files_among_images(bench: Tally, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "pictures"
    for split in ("train", "val"):
        write_images(folder, split, per_class=3)
    red = folder / "train" / "red"
    secret = tmp_path / "secret.png"
    secret.write_text("for nobody else")
    with bench.trial("hostile", "a link among images to what is no image"):
        (red / "link.png").symlink_to(secret)
        raises(DataError, lambda: data.add_folder(folder, "x", tmp_path / "m"), "link.png", "1 image")
        (red / "link.png").unlink()
    os.mkfifo(red / "pipe.png")
    (red / "device.png").symlink_to("/dev/zero")
    (red / "dead.png").symlink_to(tmp_path / "nothing")
    (red / "itself.png").symlink_to(red / "itself.png")
    (red / "round").symlink_to(folder)
    with bench.trial("hostile", "pipes, devices, dead links and circles among images"):
        begin = time.monotonic()
        manifest = load_manifest(data.add_folder(folder, "x", tmp_path / "m"))
        assert manifest.groups["train"].count == 9
        assert data.verify(manifest, folder.parent) == []
        assert time.monotonic() - begin < SOON


# Archives

NATURAL = {"folder/train/a/1.txt": b"one", "folder/train/b/2.txt": b"two"}


def described(root: Path, archive: bytes, name: str = "data.tar", **changes: Any) -> data.Manifest:
    """A manifest of an archive, which lies in the data root."""
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(archive)
    content = yaml.safe_load((paths.MANIFESTS / "imagenette.yaml").read_text())
    content |= {"name": "packed", "folder": "folder", "file_list": None,
                "archives": {name: f"sha256:{hashlib.sha256(archive).hexdigest()}"}} | changes  # fmt: skip
    file = root.parent / "packed.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return load_manifest(file)


def tarred(
    *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w", kind: int = tarfile.PAX_FORMAT
) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode, format=kind) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return made.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_an_honest_archive_is_unpacked_once(kind: str, tmp_path: Path) -> None:
    root, members = tmp_path / "root", [("folder/", b""), *NATURAL.items()]
    archive = zipped(*members) if kind == "zip" else tarred(*NATURAL.items(), mode=kind)
    manifest = described(root, archive)
    assert unpack(manifest, root) == root / "folder"
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.txt")}
    assert found == NATURAL
    assert listed(root) == {
        "data.tar",
        *(str(p) for name in NATURAL for p in [Path(name), *Path(name).parents][:-1]),
    }
    raises(DataError, lambda: unpack(manifest, root), "is there already")


def test_hostile_archives_leave_nothing(bench: Tally, tmp_path: Path) -> None:
    good = [*NATURAL.items()]
    names = ["/etc/x", "../x", "folder/../../x", "folder/..", "..", "elsewhere/x", "folder\\..\\x", "~/x",
    "C:/x",
             "./../x", "folder/a/../../../x", "x"]  # fmt: skip
    inner: dict[str, list[bytes]] = {
        "with a path that leads elsewhere": [
            *(tarred(*good, (name, b"evil")) for name in names),
            *(zipped(*good, (name, b"evil")) for name in names),
        ],
        "with a link, a device or a pipe": [
            *(tarred(*good, special("folder/link", tarfile.SYMTYPE, to), ("folder/link/x", b"evil"))
              for to in ("/etc", "..", "train", "../../x")),
            *(tarred(*good, special("folder/link", tarfile.LNKTYPE, to)) for to in ("/etc/passwd",
            "folder/train")),
            *(tarred(*good, special("folder/odd", kind))
              for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"Z", tarfile.GNUTYPE_SPARSE)),
            zipped(*good, (zip_link("folder/link"), b"/etc")),
        ],
        "with a file twice, or as a folder too": [
            tarred(*good, good[0]), zipped(*good, ("folder//train/a/1.txt", b"evil")),
            tarred(*good, ("folder/train", b"evil")), tarred(("folder/x", b"a"), ("folder/x/y", b"b")),
            tarred(("folder", b"evil")),
        ],
        "that is cut short, empty or none": [
            tarred(*good)[:700], tarred(*good, mode="w:gz")[:-30], tarred(*good, mode="w:xz")[:120],
            zipped(*good)[:-30], zipped(*good, kind=zipfile.ZIP_STORED).replace(b"one", b"own", 1),
            b"", b"no archive", b"\x1f\x8b",
            b"PK\x03\x04", b"BZh9", tarred(),
            tarred(*good).replace(b"folder/train/a", b"folder/trbin/a", 1),
            b"\xfd7zXZ\0" + bytes(100), Path(__file__).read_bytes(), pickle.dumps(Trap(tmp_path / "was run")),
        ],
    }  # fmt: skip
    for what, archives in inner.items():
        for number, archive in enumerate(archives):
            with bench.trial("hostile", f"an archive {what}"):
                root = tmp_path / f"{len(archive)}-{number}" / "root"
                root.parent.mkdir(exist_ok=True)
                manifest = described(root, archive)
                raises(DataError, lambda m=manifest, root=root: unpack(m, root), "data.tar")
                assert listed(root) == {"data.tar"}, (what, number)
                assert listed(root.parent) == {"root", "root/data.tar", "packed.yaml"}
    assert not (tmp_path / "was run").exists()


def test_archives_far_too_large_are_refused(
    bench: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"splits": {name: {"group": "all", "count": 1} for name in ("train", "validation", "test")},
             "groups": {"all": {"count": 3, "paths": ["train"]}}}  # fmt: skip
    for limit, value in (("_SPARE_BYTES", 1_000_000), ("_IMAGE_BYTES", 100_000), ("_SPARE_MEMBERS", 100)):
        monkeypatch.setattr(unpacking, limit, value)
    lying = tarfile.TarInfo("folder/train/a/1.txt")
    lying.size = 10**12
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 10**9
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 10**9
    archives = {
        "files": small_file(tarred(("folder/train/a/1.txt", bytes(3_000_000)), mode="w:gz")),
        "zip": small_file(zipped(("folder/train/a/1.txt", bytes(3_000_000)))),
        "lying": lying.tobuf(),
        "name": gzip.compress(long_name.tobuf(tarfile.GNU_FORMAT) + bytes(3_000_000)),
        "header": gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(3_000_000)),
        "members": tarred(*((f"folder/train/a/{n}.txt", b"") for n in range(200)), mode="w:gz"),
    }
    for name, archive in archives.items():
        with bench.trial("hostile", "an archive far larger than its images could be"):
            root = tmp_path / name / "root"
            root.parent.mkdir()
            manifest = described(root, archive, **small)
            raises(DataError, lambda m=manifest, root=root: unpack(m, root), "data.tar")
            assert listed(root) == {"data.tar"}


def small_file(archive: bytes) -> bytes:
    assert len(archive) < 100_000  # or it would be no bomb
    return archive


def test_archives_are_unpacked_only_with_their_checksum_and_beside_nothing(
    bench: Tally, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    archive = tarred(*NATURAL.items())
    with bench.trial("hostile", "an archive with another checksum"):
        manifest = described(root, archive, archives={"data.tar": "sha256:" + "0" * 64})
        raises(DataError, lambda: unpack(manifest, root), "data.tar", "0" * 64)
        assert_refused("data", "unpack", str(tmp_path / "packed.yaml"), "--data", str(root), message="sha256")
    manifest = described(root, archive)
    (tmp_path / "elsewhere").mkdir()
    for make in (lambda place: place.mkdir(), lambda place: place.touch(),
                 lambda place: place.symlink_to(tmp_path / "elsewhere"),
                 lambda place: place.symlink_to(tmp_path / "nothing")):  # fmt: skip
        with bench.trial("hostile", "something in the place of what is to be unpacked"):
            make(root / "folder")
            raises(DataError, lambda: unpack(manifest, root), "is there already")
            assert listed(tmp_path / "elsewhere") == set()
            (root / "folder").rmdir() if (root / "folder").is_dir() and not (
                root / "folder").is_symlink() else (root / "folder").unlink()  # fmt: skip
    for changes in ({"folder": "."}, {"archives": {}}):
        with bench.trial("hostile", "a manifest that has nothing of its own to unpack"):
            odd = described(root, archive, **changes)
            raises(DataError, lambda odd=odd: unpack(odd, root), "packed")
    manifest = described(root, archive)
    (root / "data.tar").unlink()
    assert_refused(
        "data", "unpack", str(tmp_path / "packed.yaml"), "--data", str(root), message="How to get it"
    )
    described(root, archive)
    assert pat("data", "unpack", str(tmp_path / "packed.yaml"), "--data", str(root)).exit_code == 0
    assert (root / "folder" / "train" / "a" / "1.txt").read_bytes() == b"one"


# Images


def png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """A PNG whose header says so, whatever its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows if rows is not None else bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def encoded(kind: str, side: int = 40) -> bytes:
    made = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(made, kind)
    return made.getvalue()


def broken_images() -> dict[str, tuple[str, bytes]]:
    """What is wrong, with a file's name and content."""
    jpeg, bmp = encoded("JPEG"), bytearray(encoded("BMP"))
    struct.pack_into("<ii", bmp, 18, 40, 4000)
    text = io.BytesIO()
    Image.new("RGB", (4, 4)).save(text, "GIF")
    return {
        "claims 50,000 x 50,000 pixels": ("huge.png", png(50_000, 50_000)),
        "claims more pixels than there are": ("more.png", png(400, 400)),
        "claims rows that are not there": ("rows.bmp", bytes(bmp)),
        "claims no pixels": ("none.png", png(0, 0)),
        "claims 10,000 x 10,000, and has them packed in a few bytes": (
            "bomb.png", png(10_000, 10_000, bytes(30_010_000))),
        "is a JPEG cut in half": ("half.jpg", jpeg[: len(jpeg) // 2]),
        "is a JPEG without its last bytes": ("short.jpg", jpeg[:-40]),
        "is a GIF called JPEG": ("gif.jpg", text.getvalue()),
        "is a web page called JPEG": ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>"),
        "is a vector graphic called PNG": ("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "is PostScript called TIFF": ("script.tif", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "is empty": ("empty.png", b""),
        "is all zeros": ("zeros.bmp", bytes(3000)),
        "is a TIFF with a directory that points to itself": (
            "loop.tif", b"II*\0\x08\0\0\0\x01\0\0\x01\x03\0\x01\0\0\0\x01\0\0\0\x08\0\0\0"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def broken() -> dict[str, tuple[str, bytes]]:
    return broken_images()


def test_images_that_lie_are_named_and_counted(
    bench: Tally, broken: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    folder = root / "pictures"
    for split in ("train", "val"):
        write_images(folder, split, per_class=20)
    red = folder / "train" / "red"
    # A wrong suffix alone is no lie that matters: ImageNet itself has a PNG called JPEG.
    (red / "19.png").write_bytes(encoded("JPEG"))
    plain = load_manifest(data.add_folder(folder, "pictures", tmp_path / "m"))
    bare = plain.model_copy(
        update={"groups": {n: g.model_copy(update={"digest": None}) for n, g in plain.groups.items()}}
    )
    (tmp_path / "data_manifests").mkdir()
    for number, (what, (name, content)) in enumerate(broken.items()):
        good = red / f"{number}.png"
        kept = good.read_bytes()
        place = red / f"{number}{Path(name).suffix}"
        good.unlink()
        place.write_bytes(content)
        with bench.trial("hostile", f"an image that {what}"):
            for manifest in (plain, bare):
                found = [p for p in data.verify(manifest, root) if p.path == place]
                assert [p.kind for p in found][-1:] == ["damaged"] or place != good
                assert found
            raises(DataError, lambda: data.add_folder(folder, "x", tmp_path / "n"), place.name, "1 image(s)")
            for manifest in (plain, bare):
                for in_memory in (True, False):
                    chosen = manifest.model_copy(update={"in_memory": in_memory})
                    raises(
                        DataError, lambda chosen=chosen: data.open_dataset(chosen, root=root, device="cpu")
                    )
        place.unlink()
        good.write_bytes(kept)
    for number, (name, content) in enumerate(broken.values()):
        (red / f"{number}.png").unlink()
        (red / f"{number}{Path(name).suffix}").write_bytes(content)
    with bench.trial("hostile", "many images that lie"):
        raises(DataError, lambda: data.add_folder(folder, "x", tmp_path / "n"), f"{len(broken)} image(s)")
        chosen = bare.model_copy(update={"in_memory": True, "file_list": None})
        raises(
            DataError, lambda: data.open_dataset(chosen, root=root, device="cpu"), f"{len(broken)} image(s)"
        )
        assert_refused(
            "data", "add", str(folder), "--name", "x", message=f"{len(broken)} image(s) do not decode"
        )
        bad = pat("data", "verify", str(tmp_path / "m" / "pictures.yaml"), "--data", str(root))
        assert bad.exit_code == 2
        for number, (name, _) in enumerate(broken.values()):
            assert f"/{number}{Path(name).suffix}" in bad.stderr
        assert re.search(r"\d+ problems", bad.stderr)


@pytest.mark.parametrize("in_memory", [True, False])
def test_no_epoch_is_trained_on_images_that_lie(bench: Tally, in_memory: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for split in ("train", "val"):
        write_images(root / "pictures", split, per_class=20)
    out = tmp_path / "data_manifests"
    file = data.add_folder(root / "pictures", "pictures", out, in_memory=in_memory)
    content = yaml.safe_load(SMOKE) | {"dataset": "pictures", "experiments": {}}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(yaml.safe_dump(content))
    for digests in (True, False):
        if not digests:
            manifest = yaml.safe_load(file.read_text())
            for group in manifest["groups"].values():
                del group["digest"]
            file.write_text(yaml.safe_dump(manifest))
        bad = root / "pictures" / "train" / "red" / "3.png"
        kept = bad.read_bytes()
        for spoiled in (kept[: len(kept) // 2], png(50_000, 50_000), b""):
            with bench.trial("hostile", "training on images that lie"):
                bad.write_bytes(spoiled)
                assert_refused("run", "--profile", "mine", "--data", str(root),
                               message="its digest differs" if digests else "red/3.png")  # fmt: skip
                assert list((tmp_path / "runs").rglob("*.ckpt")) == []
        bad.write_bytes(kept)


def test_a_small_image_file_does_not_fill_the_memory(
    bench: Tally, broken: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures" / "red"
    folder.mkdir(parents=True)
    (folder / "huge.png").write_bytes(broken["claims 50,000 x 50,000 pixels"][1])
    (folder / "bomb.png").write_bytes(broken["claims 10,000 x 10,000, and has them packed in a few bytes"][1])
    (tmp_path / "list.gz").write_bytes(gzip.compress(bytes(300_000_000), 1))
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from pat.files.errors import DataError\n"
        "from pat.training.data.layouts.imagefolder import check_all, expected_names\n"
        "from pat.training.data.manifest import load_manifest\n"
        "folder = Path(sys.argv[1])\n"
        "manifest = load_manifest('imagenette').model_copy(update={'file_list': 'list.gz'})\n"
        "manifest._path = folder / 'x.yaml'\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "images = lambda: check_all(sorted(folder.rglob('*.png')), 3)\n"
        "for call in (images, lambda: expected_names(manifest, 'train')):\n"
        "    try:\n"
        "        call()\n"
        "    except DataError as error:\n"
        "        print(error)\n"
        "print('used', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    with bench.trial("hostile", "small files that would fill the memory"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert "2 image(s) do not decode" in done.stdout
        assert "bytes unpacked" in done.stdout
        assert int(done.stdout.rpartition("used")[2]) < 100_000  # kilobytes


# JSON


def json_attacks() -> dict[str, list[str]]:
    deep = 100_000
    return {
        "nested without end": ["[" * deep, '{"a":' * deep, "[" * deep + "]" * deep,
                               '{"spec": ' + "[" * 990 + "]" * 990 + "}"],
        "with a number of thousands of digits": ["9" * 10_000, '{"id": ' + "9" * 10_000 + "}",
        "-" + "1" * 5000],
        "with numbers that are none": ['{"a": 1e999}', '{"a": NaN}', '{"a": -Infinity}', "[1, Infinity]"],
        "with a field twice": ['{"format": 1, "format": 1}', '{"a": {"b": 1, "b": 2}}'],
        "with half a character, or none": ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": "\\u0000"}',
        '"\ud800"',
                                           "\0", '{"a": "\0"}', "\ufeff{}"],
        "of another encoding": ["\xff\xfe"],
        "that is none": ["", "null", "0", "[]", '""', "{}", "{", "'a'", "{a: 1}", "[1,]", "{" * 50, "nul",
        "// x"],
    }  # fmt: skip


def test_hostile_json_is_refused_by_every_reader(bench: Tally, tmp_path: Path) -> None:
    file = tmp_path / "hostile.json"
    speed = measured.speed_folder(tmp_path, "tiny") / file.name
    speed.parent.mkdir(parents=True)
    notes = tmp_path / "notes.safetensors"

    def write_notes(text: str) -> None:
        notes.write_bytes(
            serialise({"x": torch.zeros(1)}, metadata={"format": "pat-pruned-model-1", "notes": text})
        )

    def tree(text: str) -> None:
        content = torch.frombuffer(bytearray(text.encode("utf-8", "surrogatepass")) or bytearray(b" "),
                                   dtype=torch.uint8)  # fmt: skip
        checkpoint.load(sealed_in(file, serialise({"tree": content})))

    readers: dict[str, Callable[[str], object]] = {
        "record": lambda text: read_record(written(file, text)),
        "table": lambda text: read_table(written(file, text)),
        "table's text": LatencyTable.from_json,
        "speeds": lambda text: (written(speed, text), read_speeds(tmp_path, "tiny")),
        "bench": lambda text: read_bench(written(file, text)),
        "notes": lambda text: (write_notes(text), read_notes(notes)),
        "tree": tree,
    }
    for name, read in readers.items():
        for kind, texts in json_attacks().items():
            for text in texts:
                if name == "notes" and "\ud800" in text:
                    continue  # cannot be written
                with bench.trial("hostile", f"JSON {kind}"):
                    plain = name in ("tree", "notes") and kind in (
                        "with numbers that are none", "that is none", "with half a character, or none",
                        "with a number of thousands of digits", "of another encoding")  # fmt: skip
                    try:
                        raises(ValueError, lambda read=read, text=text: read(text))
                    except pytest.fail.Exception:
                        assert plain, (name, text[:40])  # a tree may be any plain value, and notes empty


def written(file: Path, text: str) -> Path:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return file


def sealed_in(file: Path, payload: bytes) -> Path:
    file.write_bytes(sealed(payload))
    return file


def test_hostile_safetensors_are_refused(bench: Tally, tmp_path: Path) -> None:
    save_pruned(Plain(), tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()

    def packed(header: object, body: bytes = b"", length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    def tensor(shape: list[int], begin: int, end: int, dtype: str = "U8") -> dict[str, object]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    attacks = [
        packed({}, length=100_000_000), packed({}, length=2**63), packed({}, length=2**64 - 1),
        struct.pack("<Q", 100_000_000) + b" " * 1_000_000, packed(b"[" * 100_000), packed(b"{" * 100_000),
        packed({"tree": tensor([2**40], 0, 2)}, b"{}"), packed({"tree": tensor([2**62, 4], 0, 2)}, b"{}"),
        packed({"tree": tensor([2], 0, 2**40)}, b"{}"), packed({"tree": tensor([2], 2, 0)}, b"{}"),
        packed({"tree": tensor([2], 0, 2), "x": tensor([2], 0, 2)}, b"{}"),
        packed({"tree": tensor([2], 0, 2), "x": tensor([2], 1, 3)}, b"{}{}"),
        packed({"tree": tensor([1], 0, 2, "BF16")}, b"{}"), packed({"tree": tensor([2], 0, 2, "F8_E4M3")},
        b"{}"),
        packed({"tree": tensor([2], 0, 2, "X9")}, b"{}"), packed({"tree": tensor([0, 2**60], 0, 0)}),
        packed({"tree": tensor([-2], 0, 2)}, b"{}"), packed({"tree": tensor([2], 0, 2)}, b"{}" + bytes(100)),
        packed({"tree": tensor([2], 0, 2)}, b"\xff\xff"), packed({"__metadata__": {"format": 1}}),
        packed(b'{"tree": 1, "tree": 2}'), packed([]), packed(b"null"), packed(b"\xff"), b"", b"\0" * 7,
        whole[:50], whole[:-1], whole + b"\0", whole[:8] + whole[9:],
    ]  # fmt: skip
    trees = ['{"tensor": "t0"}', '{"tensor": []}', '{"tensor": {}}', '{"dict": 1}', '{"dict": [1]}',
             '{"dict": [[1]]}', '{"dict": [[1, 2, 3]]}', '{"dict": [[[], 1]]}', '{"dict": [[{}, 1]]}',
             '{"a": 1}',
             '{"dict": {"a": 1}}', '{"dict": "ab"}', '{"dict": ["ab"]}', '{"dict": null}', 
             '{"dict": [["x", {}]]}',
             '{"tensor": null}', '{"tensor": 1e400}', "[" * 900 + "]" * 900]  # fmt: skip
    attacks += [packed({"tree": tensor([len(t)], 0, len(t))}, t.encode()) for t in trees]
    for number, attack in enumerate(attacks):
        with bench.trial("hostile", "a safetensors file that lies about itself"):
            for what in (attack, whole if attack == b"" else attack):
                begin = time.monotonic()
                file = sealed_in(tmp_path / "a.ckpt", what)
                try:
                    found = checkpoint.load(file)
                except checkpoint.DamagedCheckpoint as error:
                    assert "a.ckpt" in str(error)  # noqa: PT017
                else:
                    assert trees[-1] in what.decode("latin-1"), (number, found)
                assert time.monotonic() - begin < SOON
        if what is not whole:
            with bench.trial("hostile", "a safetensors file that lies about itself"):
                (tmp_path / "b.safetensors").write_bytes(attack)
                raises(ValueError, lambda: load_pruned(Plain(), tmp_path / "b.safetensors"), "b.safetensors")
                raises(ValueError, lambda: read_notes(tmp_path / "b.safetensors"), "b.safetensors")


# What is shown


def test_texts_of_records_are_shown_and_not_obeyed(bench: Tally, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    texts = ["[/closing]", "[bold]", "[link=http://x]y[/link]", "[", "[/]", ":smile:",
    "\x1b[2J\x1b]0;title\x07",
             "\x9b31m", "\r\x08\x08", "\u202egnp.exe", "\x00", "a\nb", "{x}", "%s", "\ud83d"]  # fmt: skip
    for number, text in enumerate(texts):
        with bench.trial("hostile", "a record whose texts would steer the terminal"):
            spec = (
                dense(architecture=f"x{text}y", dataset=f"d{text}", seed=number)
                if text != "\ud83d"
                else dense()
            )
            reason = text if text != "\ud83d" else None
            record = example(spec, reason=reason, trunk=None)
            store.write(record)
            shows = [pat("show", record.id, "--store", "runs"), pat("results", "table", "--store", "runs"),
                     pat("status", "--store", "runs")]  # fmt: skip
            for result in shows:
                assert result.exit_code == 0, (text, result.exception)
                assert set(result.stdout) & set("\x1b\x9b\x07\x08\r\0\u202e") == set()
            if text.isprintable():
                assert f"x{text}y" in shows[0].stdout.replace("\n", "")
    assert open_store(store.root).records()


def test_messages_are_short_and_of_plain_characters() -> None:
    assert printable("a\x1b[31mb\u202ec\ud800é\n") == "a\\x1b[31mb\\u202ec\\ud800é\n"
    assert shown(10**5000) == "a int that is too large to show"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shown(deep)) < 100
    assert len(shown("x" * 10**6)) < 500
    assert len(shown({f"k{i}": ["v" * 1000] * 1000 for i in range(1000)})) < 1000
    with pytest.raises(ValueError, match=r"and \d+ more"):
        load_profile("smoke").spec(recipe={f"field {i}": i for i in range(1000)})
    result = pat("run", "--profile", "\x1b[31m")
    assert "\\x1b[31m" in result.stderr
    assert "\x1b" not in result.stderr
