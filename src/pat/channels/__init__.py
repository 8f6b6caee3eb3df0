"""How channels hang together: a trace of a model in, groups of channels that must be removed together out."""

from pat.channels.coupling import UnsupportedOperation
from pat.channels.groups import ChannelGroup, ChannelGroups, Member, Slot
from pat.channels.operations import Rule, elementwise, keeps_zero
from pat.channels.rules import register
from pat.channels.tracing import trace

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "Member",
    "Rule",
    "Slot",
    "UnsupportedOperation",
    "elementwise",
    "keeps_zero",
    "register",
    "trace",
]
