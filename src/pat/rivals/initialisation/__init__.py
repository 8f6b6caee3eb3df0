"""Pruning at initialisation, structured: a rule scores weights, and the channels with the lowest sums go."""

from pat.rivals.initialisation.force import FORCE
from pat.rivals.initialisation.grasp import GraSP
from pat.rivals.initialisation.iterative_snip import IterativeSNIP
from pat.rivals.initialisation.random_channels import RandomChannels
from pat.rivals.initialisation.snip import SNIP
from pat.rivals.initialisation.synflow import SynFlow

__all__ = ["FORCE", "SNIP", "GraSP", "IterativeSNIP", "RandomChannels", "SynFlow"]
