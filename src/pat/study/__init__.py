"""The reproducibility study: plan, runs, store, analysis, experiments, claims, report."""

from pat.study import moved

moved.install()
