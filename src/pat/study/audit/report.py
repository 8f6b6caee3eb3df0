"""The audit as a reader meets it: tables, what follows, and the claims that nothing here can test."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from pat import paths
from pat.study.audit.check import VERDICTS, Check

_COLUMNS = ("Where", "Quantity", "Printed", "Recomputed", "From", "Verdict")


def parts(found: Sequence[Check]) -> list[str]:
    """The sections that the checks belong to, in order."""
    return list(dict.fromkeys(check.part for check in found))


def table(found: Sequence[Check]) -> pd.DataFrame:
    """One row a check: where, quantity, printed, recomputed, from what, verdict."""
    rows = [
        (c.where, c.quantity, c.printed or "–", c.recomputed, c.inputs, c.verdict.replace("implied", "–"))
        for c in found
    ]
    return pd.DataFrame(rows, columns=pd.Index(_COLUMNS))


def tally(found: Sequence[Check]) -> pd.DataFrame:
    """How many checks of each section ended how."""
    counts = {
        part: [sum(c.part == part and c.verdict == verdict for c in found) for verdict in VERDICTS]
        for part in parts(found)
    }
    wide = pd.DataFrame.from_dict(counts, orient="index", columns=list(VERDICTS))
    wide.loc["all"] = wide.sum()
    return wide.rename_axis("section").reset_index()


def notes(found: Sequence[Check]) -> str:
    """What follows from each check, as a Markdown list; checks with the same consequence share an entry."""
    by_text: dict[str, list[Check]] = {}
    for check in found:
        by_text.setdefault(check.follows, []).append(check)
    return "\n".join(f"- **{_heading(checks)}.** {text}" for text, checks in by_text.items())


def _heading(checks: Sequence[Check]) -> str:
    wheres = list(dict.fromkeys(check.where for check in checks))
    quantities = list(dict.fromkeys(check.quantity for check in checks))
    return f"{'; '.join(wheres)}: {', '.join(quantities)}"


def untested(book: Path = paths.BOOK, chapter: str = "audit") -> pd.DataFrame:
    """The claims of ``claims.yaml`` that no run decides, with the reason, for the chapter they point to.

    Raises:
        ValueError: naming the file, if it is not there or no list of claims.
    """
    file = book / "claims.yaml"
    try:
        claims = yaml.safe_load(file.read_text(encoding="utf-8"))["claims"]
        rows = [(c["where"], c["claim"], c["untested"]) for c in claims if c["chapter"] == chapter]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: expected claims ({type(error).__name__}: {error})") from None
    return pd.DataFrame(rows, columns=pd.Index(["Where", "Claim", "Why it is not tested"]))
