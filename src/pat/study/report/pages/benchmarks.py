"""What ``make bench`` measured: ratios with their spread, question by question."""

from typing import Any

from pat.files.sealed import unseal
from pat.study.store import AnyStore, measured

QUESTIONS = (
    "tracking", "removal", "speedup", "throughput", "trunks", "growth", "ranks", "cluster", "forecasts",
)  # fmt: skip
"""Keys of a record's answers, as the modules of ``benchmarks/`` are named."""
NONE = "Not measured yet."


def facts(store: AnyStore) -> dict[str, Any]:
    """What the page quotes: ``summary`` is a text, and of each question there is a table.

    Texts without a record, or without an answer in it. Raises:
        ValueError: if the record was changed.
    """
    records = [unseal(file) for file in measured.files(store.root / measured.FOLDER / "bench")]
    if not records:
        none = "The bench has not been run for these records: `make bench` does it."
        return {"summary": none, **dict.fromkeys(QUESTIONS, NONE)}
    found = records[-1]
    answers = found["questions"]
    return {
        "summary": _summary(found),
        **{name: _rows(answers[name]["ratios"]) if name in answers else NONE for name in QUESTIONS},
    }


def _summary(found: dict[str, Any]) -> str:
    origin = found["provenance"]
    packages = {name: origin["packages"][name] for name in ("torch", "torchvision")} | found["libraries"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    smoke = " **At the smallest sizes, in one round: these numbers mean nothing.**" if found["quick"] else ""
    return (
        f"Measured on {origin['hardware']} in {origin['seconds'] / 60:.0f} minutes, {origin['date'][:10]}, "
        f"with {versions}, at commit `{(origin['commit'] or '?')[:12]}`.{smoke}"
    )


def _rows(ratios: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "Ratio": ratio["what"],
            "Median": _number(ratio["median"]),
            "Quartiles": " to ".join(map(_number, ratio["quartiles"])) if ratio["rounds"] > 1 else "–",
            "Rounds": str(ratio["rounds"]),
            "Aim": ratio["aim"] or "–",
            "Beside it": ", ".join(f"{name} {value}" for name, value in ratio["beside"].items()) or "–",
        }
        for ratio in ratios
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"
