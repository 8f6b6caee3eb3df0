"""Audit of the paper's arithmetic: every derived number of its tables and text, from its own inputs.

``book/paper_values.yaml`` has what the paper prints, ``book/networks.yaml`` what its dense networks cost.
"""

from pathlib import Path

from pat.files import paths
from pat.study.audit import accuracies, algorithms, expense, flops, policies
from pat.study.audit.check import VERDICTS, Check, Verdict
from pat.study.audit.flops import implied_costs
from pat.study.audit.policies import POLICIES, losses
from pat.study.audit.report import provenance, summary, table, tally, untested
from pat.study.paper.networks import LABELS, Network, read_networks
from pat.study.paper.numbers import Paper, Printed, Span, derived

__all__ = [
    "LABELS",
    "PARTS",
    "POLICIES",
    "VERDICTS",
    "Check",
    "Network",
    "Paper",
    "Printed",
    "Span",
    "Verdict",
    "checks",
    "derived",
    "implied_costs",
    "losses",
    "provenance",
    "read_networks",
    "summary",
    "table",
    "tally",
    "untested",
]

PARTS = tuple(module.PART for module in (policies, flops, expense, accuracies, algorithms))
"""The sections, in the order of :func:`checks`."""


def checks(book: Path = paths.BOOK) -> list[Check]:
    """All checks, section by section.

    Args:
        book: folder with ``paper_values.yaml`` and ``networks.yaml``.

    Raises:
        ValueError: if a file is not there, or lacks a number that a check needs.
    """
    paper, networks = Paper.read(book), read_networks(book)
    return [
        *policies.checks(paper),
        *flops.checks(paper, networks),
        *expense.checks(paper, networks),
        *accuracies.checks(paper),
        *algorithms.checks(paper, networks),
    ]
