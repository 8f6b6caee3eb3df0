"""Pruning-aware training: early structural pruning at a moment that training finds by itself.

An implementation of "When to Prune? A Policy towards Early Structural Pruning" (Shen et al., CVPR 2022).
The modules follow the data: importance, structure, stability, policy, channels, surgery, pruner.
"""

from typing import TYPE_CHECKING

from pat.lazy import exports

if TYPE_CHECKING:
    from pat import (
        attaching,
        channels,
        cost,
        criteria,
        importance,
        methods,
        policy,
        pruner,
        saved,
        schedule,
        stability,
        structure,
        surgery,
    )
    from pat.attaching import attach
    from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation
    from pat.pruner import EpochReport, LayerCollapse, PruningAwareTraining
    from pat.saved import load_pruned, read_notes, save_pruned
    from pat.stability import EarlyPruningIndicator
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "attaching": ["attach"],
            "channels": ["ChannelGroup", "ChannelGroups", "UnsupportedOperation"],
            "cost": [],
            "criteria": [],
            "importance": [],
            "methods": [],
            "policy": [],
            "pruner": ["EpochReport", "LayerCollapse", "PruningAwareTraining"],
            "saved": ["load_pruned", "read_notes", "save_pruned"],
            "schedule": [],
            "stability": ["EarlyPruningIndicator"],
            "structure": [],
            "surgery": [],
        },
    )

__version__ = "0.1.0"

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "EarlyPruningIndicator",
    "EpochReport",
    "LayerCollapse",
    "PruningAwareTraining",
    "UnsupportedOperation",
    "attach",
    "attaching",
    "channels",
    "cost",
    "criteria",
    "importance",
    "load_pruned",
    "methods",
    "policy",
    "pruner",
    "read_notes",
    "save_pruned",
    "saved",
    "schedule",
    "stability",
    "structure",
    "surgery",
]
