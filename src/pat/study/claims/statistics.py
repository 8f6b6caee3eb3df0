"""Statistics: a name in the claims file, one function of the evidence that gives a value a seed."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from pat.files.errors import explain
from pat.study.experiments.evidence import Evidence, Sample
from pat.study.experiments.in_training.statistics import rival_difference
from pat.study.experiments.oracle_sweep.statistics import (
    accuracy_difference,
    accuracy_share,
    initialisation_loss_by_criterion,
    initialisation_loss_trend,
)
from pat.study.experiments.policies.statistics import (
    policy_regret,
    regret_difference,
    regret_margin,
    threshold_difference,
)
from pat.study.experiments.speed.statistics import (
    cost_ratio,
    macs_difference,
    step_difference,
    training_saving,
)
from pat.study.experiments.stability.statistics import (
    early_motion,
    epi_ratio_trend,
    epi_rises,
    epi_trend,
    structure_minus_mask,
    structure_motion,
    structure_settling,
    structure_stays,
)
from pat.study.experiments.tickets.statistics import (
    pretrained_difference,
    ticket_difference,
    variation_contrast,
    variation_distance,
)

_FUNCTIONS: tuple[Callable[..., Sample], ...] = (
    accuracy_difference,
    accuracy_share,
    initialisation_loss_by_criterion,
    initialisation_loss_trend,
    structure_settling,
    structure_motion,
    early_motion,
    structure_stays,
    epi_trend,
    epi_rises,
    epi_ratio_trend,
    structure_minus_mask,
    policy_regret,
    regret_difference,
    regret_margin,
    threshold_difference,
    macs_difference,
    step_difference,
    training_saving,
    cost_ratio,
    rival_difference,
    ticket_difference,
    variation_distance,
    variation_contrast,
    pretrained_difference,
)

STATISTICS: dict[str, Callable[..., Sample]] = {function.__name__: function for function in _FUNCTIONS}
"""By name."""


def check(name: str, arguments: Mapping[str, Any]) -> None:
    """Find out whether a statistic takes these arguments.

    Raises:
        ValueError: for an unknown statistic, listing the known ones; an argument that is missing, unknown or
            out of range, naming it.
    """
    if name not in STATISTICS:
        raise ValueError(f"unknown statistic {name!r}; known are {', '.join(sorted(STATISTICS))}")
    try:
        _arguments(name).model_validate(dict(arguments))
    except ValidationError as error:
        raise ValueError(f"statistic {name}: {explain(error)}") from None


def compute(name: str, evidence: Evidence, arguments: Mapping[str, Any]) -> Sample:
    """A statistic's value of each seed that has the runs for it; an empty sample where none has.

    Raises:
        ValueError: as :func:`check`.
    """
    check(name, arguments)
    return STATISTICS[name](evidence, **arguments)


@cache
def _arguments(name: str) -> type[BaseModel]:
    """What a statistic takes beside the evidence, from its signature."""
    _, *parameters = inspect.signature(STATISTICS[name]).parameters.values()
    fields: dict[str, Any] = {
        parameter.name: (
            parameter.annotation,
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)
