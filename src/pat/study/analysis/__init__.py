"""Analysis: what several experiments share; records in, tidy tables and intervals out.

As a front it also gives what the experiments' own tables compute.
"""

from pat.study import moved

__getattr__ = moved.front(
    __name__,
    lambda: [*moved.modules_in(__name__), *(m for m in moved.experiment_modules() if "figures" not in m)],
)
