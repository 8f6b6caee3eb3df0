"""How channels hang together: a trace of a model in, groups of channels that must be removed together out."""

from pat.channels.coupling import Facet, UnsupportedOperation
from pat.channels.groups import ChannelGroup, ChannelGroups, Lone, Member, Slot
from pat.channels.operations.op import Op, Rule
from pat.channels.operations.own import elementwise, keeps_zero, register
from pat.channels.tracing import trace

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "Facet",
    "Lone",
    "Member",
    "Op",
    "Rule",
    "Slot",
    "UnsupportedOperation",
    "elementwise",
    "keeps_zero",
    "register",
    "trace",
]
