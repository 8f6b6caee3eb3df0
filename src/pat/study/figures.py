"""Figures: a front to those of all experiments, and to their common style."""

from pat.study import moved

__getattr__ = moved.front(
    __name__,
    lambda: [
        "pat.study.style",
        "pat.study.audit.figures",
        *(m for m in moved.experiment_modules() if m.endswith(("figures", "maps"))),
    ],
)
