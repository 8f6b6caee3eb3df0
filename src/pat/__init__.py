"""Pruning-aware training: early structural pruning at a moment that training finds by itself.

An implementation of "When to Prune? A Policy towards Early Structural Pruning" (Shen et al., CVPR 2022).
The modules follow the data: importance, structure, stability, policy, channels, surgery, pruner.
"""

from pat import channels, cost, importance, policy, schedule, stability, structure, surgery
from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation
from pat.pruner import EpochReport, LayerCollapse, PruningAwareTraining
from pat.saved import load_pruned, read_notes, save_pruned
from pat.stability import EarlyPruningIndicator

__version__ = "0.1.0"

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "EarlyPruningIndicator",
    "EpochReport",
    "LayerCollapse",
    "PruningAwareTraining",
    "UnsupportedOperation",
    "channels",
    "cost",
    "importance",
    "load_pruned",
    "policy",
    "read_notes",
    "save_pruned",
    "schedule",
    "stability",
    "structure",
    "surgery",
]
