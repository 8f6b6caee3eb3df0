"""What ``tools/networks.py`` found: the networks that pat prunes exactly, and Torch-Pruning beside it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pat.files.sealed import unseal
from pat.study.store import AnyStore, measured

SIDES = ("pat", "Torch-Pruning")
WORDS = {
    "exact": "exact",
    "differs": "other outputs",
    "fails": "stops with an error",
    "nothing": "nothing removed",
    "refused": "refused",
}
NONE = "None yet."
_CUT = 160


def facts(store: AnyStore) -> dict[str, Any]:
    """What the page quotes: ``summary`` is a text; ``counts``, ``left_out`` and ``all`` are tables.

    Texts without a record. Raises:
        ValueError: if the record was changed.
    """
    records = [unseal(file) for file in measured.files(store.root / measured.FOLDER / "networks")]
    if not records:
        return dict.fromkeys(("summary", "counts", "left_out", "all"), NONE)
    found = records[-1]
    rows = found["networks"]
    ours, theirs = (Counter(row[side]["outcome"] for row in rows) for side in SIDES)
    wrong = len(rows) - ours["exact"] - ours["refused"]
    origin = found["provenance"]
    packages = {name: origin["packages"][name] for name in ("torch", "torchvision")} | found["libraries"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    summary = (
        f"Of {len(rows)} networks pat prunes {ours['exact']} exactly and Torch-Pruning {theirs['exact']}. "
        f"pat refuses {ours['refused']} before anything is changed, and gets {wrong or 'none'} wrong. "
        f"Measured with {versions}, at commit `{(origin['commit'] or '?')[:12]}`."
    )
    return {"summary": summary, "counts": _counts(rows), "left_out": _left_out(rows), "all": _all(rows)}


def _counts(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Outcomes by library and side, those that occur."""
    table = []
    met = {row[side]["outcome"] for row in rows for side in SIDES}
    for library in dict.fromkeys(row["library"] for row in rows):
        own = [row for row in rows if row["library"] == library]
        for side in SIDES:
            outcomes = Counter(row[side]["outcome"] for row in own)
            cells = {
                word.capitalize(): str(outcomes[key] or "–") for key, word in WORDS.items() if key in met
            }
            table.append({"Networks of": f"{library} ({len(own)})", "Pruned by": side, **cells})
    return table


def _left_out(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]] | str:
    """Those that pat does not prune, and why."""
    table = [
        {
            "Network": f"{row['library']} `{row['name']}`",
            "Why": _short(row["pat"].get("why", WORDS[row["pat"]["outcome"]])),
            "Torch-Pruning": WORDS[row["Torch-Pruning"]["outcome"]],
        }
        for row in rows
        if row["pat"]["outcome"] != "exact"
    ]
    return table or "None."


def _all(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "Network": f"{row['library']} `{row['name']}`",
            "Pixels": str(row["pixels"]),
            "Groups": str(row["pat"].get("groups", "–")),
            "Parameters left": _share(row["pat"]),
            **{side: WORDS[row[side]["outcome"]] for side in SIDES},
        }
        for row in rows
    ]


def _share(finding: dict[str, Any]) -> str:
    return f"{100 * finding['left']:.0f} %" if "left" in finding else "–"


def _short(text: str) -> str:
    """A message as a cell of a table."""
    text = " ".join(text.replace("|", "/").split()).rstrip(":")
    return text if len(text) <= _CUT else text[: text.rfind(" ", 0, _CUT)] + " …"
