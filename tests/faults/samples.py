"""One sound file of each kind that the study reads, for tests that spoil it."""

from pathlib import Path

from test_record import ORIGIN

from pat.latency.table import Geometry, Grid, LatencyTable
from pat.study.store.speeds import Seconds, Session, Speeds, StepTime


def latency_table() -> LatencyTable:
    """A small table, made up."""
    geometry = Geometry(8, 8, (3, 3), (1, 1), (1, 1), (1, 1))
    deep = Geometry(8, 8, (3, 3), (1, 1), "same", (1, 1), groups=0)
    grids = {
        geometry: Grid((1, 8), (4, 8), ((0.001, 0.002), (0.002, 0.004))),
        deep: Grid((1, 8), (0,), ((0.001,), (0.003,))),
    }
    return LatencyTable(
        hardware="a processor", device="cpu", threads=1, torch="2", batch=16, precision="fp32",
        channels_last=False, clock="wall", repeats=3,
        layers={"conv1": (geometry,), "conv2": (deep, geometry)}, grids=grids,
    )  # fmt: skip


def step_times(profile: str = "tiny") -> Speeds:
    """Step times of one network, made up."""
    one = Seconds(forward=0.5, backward=0.25, update=0.25)
    time = StepTime(
        architecture="resnet8-basic", structure={"conv": 3}, dense=one, pruned=one, shares=(0.5, 0.6)
    )
    session = Session(provenance=ORIGIN, steps=4, times={"0" * 16: time})
    return Speeds(
        profile=profile, hardware="a processor", device="cpu", threads=1, batch=16, precision="fp32",
        channels_last=False, clock="wall", sessions=(session,),
    )  # fmt: skip


CLAIMS = """
level: 0.05
claims:
- id: later-is-better
  where: Sec. 4.1
  claim: Later is better.
  chapter: oracle_sweep
  paper: {ResNet50: table3.30.post_trained}
  parts:
  - name: gradient 50 %
    statistic: accuracy_difference
    unit: points
    arguments: {network: bottleneck, criterion: gradient, ratio: 0.5, first: reference, second: first}
    greater: 0
- id: elsewhere
  where: Table 1
  claim: It holds elsewhere.
  chapter: oracle_sweep
  untested: No data.
"""
PAPER = "table3:\n  30: {post_trained: 76.18}\n"


def book(folder: Path, claims: str = CLAIMS, paper: str = PAPER) -> tuple[Path, Path]:
    """A book of two claims, and a folder with one notebook."""
    place, notebooks = folder / "book", folder / "chapters"
    for made in (place, notebooks):
        made.mkdir(exist_ok=True)
    (notebooks / "oracle_sweep.py").touch()
    (place / "claims.yaml").write_text(claims, encoding="utf-8", errors="surrogatepass")
    (place / "paper_values.yaml").write_text(paper, encoding="utf-8", errors="surrogatepass")
    return place, notebooks
