"""Pruning-aware training: early structural pruning at a moment that training finds by itself.

An implementation of "When to Prune? A Policy towards Early Structural Pruning" (Shen et al., CVPR 2022).
The modules follow the data: importance, structure, stability, policy, channels, surgery, pruner.
"""

from typing import TYPE_CHECKING

from pat.files.lazy import exports

if TYPE_CHECKING:
    from pat import (
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
    from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation
    from pat.loops.attaching import attach
    from pat.pruner import EpochReport, LayerCollapse, PruningAwareTraining
    from pat.saved import load_pruned, read_notes, save_pruned
    from pat.stability import EarlyPruningIndicator
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "channels": ["ChannelGroup", "ChannelGroups", "UnsupportedOperation"],
            "cost": [],
            "criteria": [],
            "importance": [],
            "loops.attaching": ["attach"],
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
