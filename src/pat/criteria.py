"""The importance criteria's names; :mod:`pat.importance` computes them."""

from typing import Literal

Criterion = Literal["gradient", "magnitude"]
"""Gradient: Eq. 3. Magnitude: Eq. 2."""

CRITERIA: tuple[Criterion, ...] = ("gradient", "magnitude")
