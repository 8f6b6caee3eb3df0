"""The audit as a reader meets it: HTML tables of checks, of their verdicts, and of what nothing can test."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pat.files import paths
from pat.files.plain_yaml import load_yaml
from pat.study.audit.check import VERDICTS, Check
from pat.study.paper.networks import read_provenance


def table(found: Sequence[Check], part: str) -> str:
    """The checks of one section as an HTML table: what, printed, recomputed, verdict, what follows.

    Raises:
        ValueError: if the section has no check.
    """
    own = [check for check in found if check.part == part]
    if not own:
        known = ", ".join(repr(name) for name in dict.fromkeys(check.part for check in found))
        raise ValueError(f"no check of {part!r}; known sections: {known or 'none'}")
    head = ("What", "Printed", "Recomputed", "Verdict", "What follows")
    return _table(head, (_row(check) for check in own))


def tally(found: Sequence[Check]) -> str:
    """How many checks of each section ended how, as an HTML table."""
    parts = list(dict.fromkeys(check.part for check in found))
    shown = [verdict for verdict in VERDICTS if verdict != "implied"]
    rows = [
        [escape(part), *(str(_count(found, verdict, part)) for verdict in shown)] for part in [*parts, "all"]
    ]
    return _table(("Section", *shown), rows)


def summary(found: Sequence[Check]) -> str:
    """All that is printed and does not simply come out, as a Markdown list."""
    entries = [_entry(check) for check in found if check.verdict not in ("comes out", "implied")]
    return "\n".join(entries) or "Everything that is printed comes out."


def _entry(check: Check) -> str:
    outcome = check.verdict if check.found is None else f"recomputed: {check.recomputed}"
    text = f"({check.where}); printed: {check.printed}; {outcome}. {check.follows}"
    return f"- **{escape(_sentence(check.quantity), quote=False)}** {escape(text, quote=False)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(found: Sequence[Check], verdict: str, part: str) -> int:
    return sum(check.verdict == verdict and part in (check.part, "all") for check in found)


def untested(book: Path = paths.BOOK, chapter: str = "audit") -> str:
    """The claims of ``claims.yaml`` that point to this chapter and that no run decides, as an HTML table.

    Raises:
        ValueError: naming the file, if it is not there or no list of claims.
    """
    file = book / "claims.yaml"
    try:
        claims = load_yaml(file.read_text(encoding="utf-8"))["claims"]
        rows = [[c["claim"], c["where"], c["untested"]] for c in claims if c["chapter"] == chapter]
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: expected claims ({type(error).__name__}: {error})") from None
    return _table(("Claim", "Where", "Why it is not tested"), ([_code(cell) for cell in row] for row in rows))


def provenance(book: Path = paths.BOOK) -> str:
    """When and with what the dense networks were measured, in a sentence."""
    date, packages = read_provenance(book)
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"The dense networks were measured on {date} with {versions}."


def _code(text: str) -> str:
    """HTML of a text whose code is in backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _row(check: Check) -> list[str]:
    verdict = check.verdict
    badge = f'<span class="verdict {verdict.replace(" ", "-")}">{escape(verdict)}</span>'
    return [
        f'{escape(_sentence(check.quantity))}<br><span class="where">{escape(check.where)}</span>',
        escape(check.printed) or "–",
        f'{escape(check.recomputed)}<br><span class="where">{escape(check.inputs)}</span>',
        "–" if verdict == "implied" else badge,
        escape(check.follows),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; the class is the one that the book lays out, on a phone as cards with their heads."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-head="{escape(name)}">{cell}</td>' for name, cell in zip(head, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="cards"><table class="dataframe table">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )
