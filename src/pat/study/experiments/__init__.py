"""Experiments: a name and a preset in, runs out; one folder each has its tables, figures and statistics."""

from pat.study.experiments.stages import EXPLORATORY, NAMES, POOLED, names, run, run_together, specs

__all__ = ["EXPLORATORY", "NAMES", "POOLED", "names", "run", "run_together", "specs"]
