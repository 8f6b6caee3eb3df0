"""The notebooks' flow on small stand-ins, and a look at the sources of the real ones."""

import ast
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from threading import Thread

import jupytext
import pytest
from processes import wait_for

pytest.importorskip("papermill")

from pat.study.report import executing, finished, parameters

GOOD = """# %% [markdown]
# # A stand-in

# %% tags=["parameters"]
profile = "digits"
store = "runs"
number = 3
ratios = [0.5, 0.8]

# %%
import sys, warnings
warnings.warn("a warning that no reader needs")
print(sys.prefix, number, ratios, store)

# %% mystnb={"image": {"alt": "A rising line."}}
import base64
from IPython.display import Image
Image(base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
))

# %% mystnb={"image": {"alt": "A falling line."}}
import matplotlib.pyplot as plt
plt.plot([2, 1]);

# %%
import plotly.graph_objects as go
go.Figure(go.Scatter(y=[1, 2, 3]), layout={"meta": {"alt": "Three <points>."}})
"""

FAILING = """# %% [markdown]
# # One that fails

# %% tags=["parameters"]
profile = "digits"

# %%
before = 1

# %%
raise KeyError("no such record")
"""


def add(folder: Path, name: str, source: str, parameters: str, profile: str = "digits") -> None:
    params = folder / "params" / profile
    params.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    (params / f"{name}.yaml").write_text(parameters, encoding="utf-8")


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """One execution of a good and a failing notebook, two at a time."""
    root = tmp_path_factory.mktemp("project")
    folder, out = root / "notebooks", root / "executed"
    add(folder, "good", GOOD, "number: 7\n")
    add(folder, "failing", FAILING, "")
    out.mkdir()
    # What an earlier, successful execution left must not pass for this one's result.
    (out / "failing.ipynb").write_text("{}", encoding="utf-8")
    said: list[str] = []
    # A kernel of the same name in the user's folders must not be the one that runs.
    wrong = root / "jupyter" / "kernels" / "python3"
    wrong.mkdir(parents=True)
    (wrong / "kernel.json").write_text(
        json.dumps({"argv": ["/nonexistent/python"], "language": "python", "display_name": "x"}),
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        with pytest.raises(executing.NotebookError) as failure:
            executing.execute(
                ["good", "failing"],
                "digits",
                out_dir=out,
                parameters={"profile": "digits"},
                notebooks_dir=folder,
                report=said.append,
            )
    return {"root": root, "out": out, "said": said, "failure": str(failure.value)}


SLOW = """# %% [markdown]
# # One that takes its time

# %% tags=["parameters"]
profile = "digits"

# %%
import os, time
from pathlib import Path
Path(f"kernel-{os.getpid()}").touch()
time.sleep(600)
"""


@pytest.mark.parametrize("name", executing.kernels.PRELOADED)
def test_what_is_preloaded_is_there(name: str) -> None:
    import_module(name)


@pytest.mark.usefixtures("listening")
def test_an_interrupt_ends_the_kernels_too(tmp_path: Path) -> None:
    folder, out = tmp_path / "notebooks", tmp_path / "executed"
    names = ["one", "two", "three"]
    for name in names:
        add(folder, name, SLOW, "")

    def kernels() -> list[int]:
        return [int(note.name.removeprefix("kernel-")) for note in tmp_path.glob("kernel-*")]

    def interrupt() -> None:
        try:
            wait_for(lambda: len(kernels()) == 2, 120)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        executing.execute(names, "digits", out_dir=out, notebooks_dir=folder)
    assert len(kernels()) == 2
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in kernels()), 10)
    assert {file.name for file in out.iterdir()} == {"one.failed.ipynb", "two.failed.ipynb"}


def test_kernel_is_this_environment_and_parameters_arrive(flow: dict[str, object]) -> None:
    notebook = finished.check(Path(str(flow["out"])) / "good.ipynb")
    texts = [o.text for c in notebook.cells for o in c.get("outputs", []) if "text" in o]
    assert texts == [f"{sys.prefix} 7 [0.5, 0.8] runs\n"]


def test_standard_error_goes_to_the_log_and_not_to_the_page(flow: dict[str, object]) -> None:
    text = (Path(str(flow["out"])) / "good.ipynb").read_text(encoding="utf-8")
    assert "stderr" not in text
    assert any("a warning that no reader needs" in line for line in flow["said"])


def test_paths_of_this_machine_are_not_in_the_metadata(flow: dict[str, object]) -> None:
    notebook = finished.read_notebook(Path(str(flow["out"])) / "good.ipynb")
    assert str(flow["root"]) not in json.dumps(notebook.metadata)
    assert notebook.metadata.kernelspec.language == "python"


def test_figures_are_drawings_with_words(flow: dict[str, object]) -> None:
    notebook = finished.check(Path(str(flow["out"])) / "good.ipynb")
    drawn = [
        o["data"].get("image/svg+xml") for c in notebook.cells for o in c.get("outputs", []) if "data" in o
    ]
    assert len([drawing for drawing in drawn if drawing]) == 1


def test_plotly_figure_is_a_small_labelled_division(flow: dict[str, object]) -> None:
    notebook = finished.read_notebook(Path(str(flow["out"])) / "good.ipynb")
    division = notebook.cells[-1].outputs[0].data["text/html"]
    assert 'role="img" aria-label="Three &lt;points&gt;."' in division
    assert "Plotly.newPlot" in division
    assert len(division) < 20_000
    assert "http" not in division.replace("http://www.w3.org", "").replace("https://plot.ly", "")


def test_failure_names_notebook_and_cell_and_leaves_nothing_whole(flow: dict[str, object]) -> None:
    message, out = str(flow["failure"]), Path(str(flow["out"]))
    assert "'failing'" in message
    assert "raise KeyError" in message
    assert "no such record" in message
    assert sorted(path.name for path in out.iterdir()) == ["failing.failed.ipynb", "good.ipynb"]


def test_executed_notebooks_with_errors_are_refused(flow: dict[str, object]) -> None:
    out = Path(str(flow["out"]))
    with pytest.raises(finished.NotebookError, match="no such record"):
        finished.check(out / "failing.failed.ipynb")
    with pytest.raises(finished.NotebookError, match="missing"):
        finished.check(out / "failing.ipynb")


def test_problems_of_unexecuted_and_undescribed(flow: dict[str, object]) -> None:
    notebook = finished.read_notebook(Path(str(flow["out"])) / "good.ipynb")
    del notebook.cells[4].metadata["mystnb"]
    assert any("alt text" in problem for problem in finished.problems(notebook))
    fresh = jupytext.reads(GOOD, fmt="py:percent")
    assert finished.problems(fresh) == ["it was never executed (no papermill metadata)"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nubmer": 1}, "no parameter 'nubmer'; known: profile, store, number, ratios"),
        ({"number": "1e-3"}, "'number' is a number, got '1e-3', a text"),
        ({"ratios": 0.5}, "'ratios' is a list, got 0.5, a number"),
        ({"number": True}, "'number' is a number, got True, a true/false"),
    ],
)
def test_bad_parameters(tmp_path: Path, parameters: dict[str, object], message: str) -> None:
    add(tmp_path, "good", GOOD, "")
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        executing.check_parameters(tmp_path / "good.py", parameters)


def test_good_parameters_return_the_literals(tmp_path: Path) -> None:
    add(tmp_path, "good", GOOD, "")
    literals = executing.check_parameters(tmp_path / "good.py", {"ratios": [0.1], "number": 2.5})
    assert literals == {"profile": "digits", "store": "runs", "number": 3, "ratios": [0.5, 0.8]}


def test_a_parameter_that_is_no_literal(tmp_path: Path) -> None:
    add(tmp_path, "computed", '# %% tags=["parameters"]\nnow = list(range(3))\n', "")
    with pytest.raises(ValueError, match="'now' must be a literal"):
        executing.check_parameters(tmp_path / "computed.py", {})


def test_bad_input_stops_before_anything_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    add(tmp_path, "good", GOOD, "")
    add(tmp_path, "typo", GOOD, "nubmer: 1")
    add(tmp_path, "listing", GOOD, "[1, 2]")

    def run(names: list[str], profile: str = "digits", **options: int) -> None:
        executing.execute(names, profile, out_dir=out, notebooks_dir=tmp_path, **options)

    with pytest.raises(ValueError, match="unknown profile 'digit'"):
        run(["good"], "digit")
    with pytest.raises(ValueError, match="unknown notebook 'godo'"):
        run(["good", "godo"])
    with pytest.raises(ValueError, match="no parameter 'nubmer'"):
        run(["good", "typo"])
    with pytest.raises(ValueError, match="must be a mapping"):
        run(["listing"])
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        run(["good"], jobs=0)
    add(tmp_path, "other", GOOD, "profile: smoke")
    with pytest.raises(ValueError, match="is for profile 'digits', but says 'smoke'"):
        run(["other"])
    add(tmp_path, "elsewhere", GOOD, "", profile="smoke")
    with pytest.raises(ValueError, match="no parameters file for profile 'digits'"):
        run(["elsewhere"])
    assert not out.exists()


def test_profile_and_preset_come_from_the_call(tmp_path: Path) -> None:
    source = '# %% tags=["parameters"]\nprofile = "none"\npreset = "none"\n\n# %%\nprint(profile, preset)\n'
    add(tmp_path, "chosen", source, "preset: study", profile="smoke")
    add(
        tmp_path,
        "plain",
        source.replace('preset = "none"\n', "").replace(", preset", ""),
        "",
        profile="smoke",
    )

    def texts(profile: str, preset: str | None, names: tuple[str, ...] = ("chosen", "plain")) -> list[str]:
        done = executing.execute(
            names,
            profile,
            preset=preset,
            out_dir=tmp_path / "out",
            notebooks_dir=tmp_path,
            report=lambda text: None,
        )
        return [finished.check(path).cells[-1].outputs[0].text for path in done]

    assert texts("smoke", None) == ["smoke study\n", "smoke\n"]
    assert texts("digits", "quick") == ["digits quick\n", "digits\n"]  # without a folder of files


def test_command_line_answers_a_preset_that_the_profile_has_not_with_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "out")]
    for profile, preset, message in (
        (
            "digits",
            "quik",
            "profile 'digits' has no preset 'quik'; it has study, primary, full, extended, pilot, quick",
        ),
        ("smoke", "quick", "profile 'smoke' has no preset 'quick'; it has study"),
        ("nonsense", "quick", "unknown profile 'nonsense'; known are"),
    ):
        assert executing.main(["policies", "--profile", profile, "--preset", preset, *out]) == 2
        assert message in capsys.readouterr().err


def test_command_line_answers_bad_input_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert executing.main(["--profile", "nosuch"]) == 2
    assert "unknown profile 'nosuch'" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one notebook, which the command line takes for the project's."""
    add(tmp_path, "good", GOOD, "number: 7\n")
    monkeypatch.setattr(executing, "NOTEBOOKS", tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The parameters of notebooks that were checked and would run now."""
    started: list[dict[str, object]] = []

    def run(task: executing._Task) -> tuple[float, list[str]]:
        started.append(task.parameters)
        return 0.0, []

    monkeypatch.setattr(executing.kernels, "server", lambda: None)
    monkeypatch.setattr(executing, "_run", run)
    return started


def test_command_line_passes_parameters_as_yaml(folder: Path, started: list[dict[str, object]]) -> None:
    arguments = ["good", "--profile", "digits", "--out", str(folder / "out")]
    assert executing.main(arguments) == 0
    given = ["-p", "number", "2.5", "-p", "ratios", "[0.1, 0.9]", "--parameter", "store", "elsewhere"]
    assert executing.main([*arguments, *given]) == 0
    assert started == [
        {"profile": "digits", "number": 7},
        {"profile": "digits", "number": 2.5, "ratios": [0.1, 0.9], "store": "elsewhere"},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good", "-p", "nubmer", "1"], "no parameter 'nubmer'; known: profile, store, number, ratios"),
        (["good", "-p", "number", "many"], "'number' is a number, got 'many', a text"),
        (["good", "-p", "ratios", "[0.1"], "-p ratios: '[0.1' is not valid YAML"),
        (["-p", "number", "1"], "-p needs the names of the notebooks"),
    ],
)
def test_command_line_refuses_parameters_before_anything_runs(
    arguments: list[str],
    message: str,
    folder: Path,
    started: list[dict[str, object]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert executing.main([*arguments, "--profile", "digits", "--out", str(folder / "out")]) == 2
    assert message in capsys.readouterr().err
    assert started == []
    assert not (folder / "out").exists()


SOURCES = sorted(executing.NOTEBOOKS.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])
def test_source_reads_as_a_chapter(source: Path) -> None:
    """Title first, one cell of literal parameters, the work done by `pat`, no algorithm inside."""
    notebook = jupytext.read(source, fmt="py:percent")
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    literals = executing.check_parameters(source, {})
    assert {"profile", "store"} <= set(literals)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert any(name.split(".")[0] == "pat" for name in modules)
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and (node.end_lineno or 0) - node.lineno > 15
        and source.stem != "own_model"  # whose subject is a model of the reader's own
    ]
    assert not long, f"move to pat.study: {long}"


PARAMETER_FILES = sorted(executing.NOTEBOOKS.glob("params/*/*.yaml"))


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=[f"{p.parent.name}-{p.stem}" for p in PARAMETER_FILES])
def test_parameter_file_fits_its_notebook(path: Path) -> None:
    values = executing.read_parameters(path.stem, path.parent.name)
    executing.check_parameters(executing.NOTEBOOKS / f"{path.stem}.py", values)


def test_every_notebook_has_parameters_for_the_digits_and_the_small_sizes() -> None:
    for profile in parameters.list_profiles():
        if profile in {"digits", "smoke", "tiny"}:
            assert executing.notebooks_of(profile) == parameters.list_notebooks()


def test_notebook_names_are_sorted_sources(tmp_path: Path) -> None:
    for name in ("b", "a"):
        add(tmp_path, name, GOOD, "")
    (tmp_path / "params" / "readme.txt").write_text("no profile", encoding="utf-8")
    assert parameters.list_notebooks(tmp_path) == ["a", "b"]
    assert parameters.list_profiles(tmp_path) == ["digits"]
    assert os.listdir(tmp_path / "params" / "digits")


def test_a_number_and_its_spread_stay_on_one_line() -> None:
    cell = "<td>8.21 ± 0.29</td><td>1.9 [−0.0, 3.9]</td><td>a ± b, 3 of [4, 5, 6]</td>"
    assert finished.unbroken(cell) == cell.replace("1 ±", "1\u00a0±").replace("± 0", "±\u00a00").replace(
        "0.0, 3", "0.0,\u00a03"
    )
