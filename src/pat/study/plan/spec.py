"""Specs: what a run is, frozen and validated; its id is a hash of what it says."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pat.criteria import Criterion
from pat.files.sealed import checksum
from pat.methods import METHODS, Method
from pat.policy import EPI, POLICIES, AtEpoch, NamedPolicy, RandomEpoch
from pat.rivals.prunetrain import PruneTrainSettings
from pat.study.plan.options import Frozen, validated, written
from pat.training.recipe import Recipe

__all__ = [
    "EPI",
    "METHOD_VERSION",
    "NAME",
    "AtEpoch",
    "Frozen",
    "LatencyAware",
    "Neurons",
    "PolicySpec",
    "Pruning",
    "RandomEpoch",
    "Spec",
    "Tracking",
    "Variation",
]

METHOD_VERSION = 1
"""Raised when the method changes what a run computes, so that old records are not taken for new ones."""


NAME = r"^[a-z0-9][a-z0-9._-]{0,199}$"
"""Names of profiles, which name folders: nothing in them leads elsewhere."""


def _read_policy(value: object) -> NamedPolicy:
    """A policy of the registry that has seen nothing: from one, or from its kind and settings.

    Raises:
        ValueError: for an unknown kind, or settings that it does not take.
    """
    if isinstance(value, NamedPolicy):
        return validated(POLICIES.find(value.kind), value.options())
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise ValueError(f"expected a kind, one of {', '.join(POLICIES)}, and its settings")
    options = {name: option for name, option in value.items() if name != "kind"}
    return validated(POLICIES.find(value["kind"]), options)


def _write_policy(policy: NamedPolicy, info: SerializationInfo) -> dict[str, Any]:
    return {"kind": policy.kind, **written(policy, info)}


def _read_method(value: object) -> Method:
    """A method of the registry: from one, or from its name and settings.

    Raises:
        ValueError: for an unknown name, or settings that it does not take.
    """
    match value:
        case Method():
            name, options = value.name, value.options()
        case (str(name), Mapping() as options):
            pass
        case _:
            raise ValueError(f"expected a method's name and settings, got {value!r}")
    entry = METHODS.find(name)
    try:
        return validated(entry, options)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None


_NO_METHOD = "prunetrain"
"""Records say null under this name where no other method trains; it was the first there was."""

PolicySpec = Annotated[NamedPolicy, PlainValidator(_read_policy), PlainSerializer(_write_policy)]
"""One of :data:`pat.policy.POLICIES`, written with its kind."""
AnyMethod = Annotated[Method, PlainValidator(_read_method), PlainSerializer(written)]
"""One of :data:`pat.methods.METHODS`."""


class Variation(Frozen):
    """Another mask than the one that Algorithm 1 found (Sec. 4.5)."""

    kind: Literal["same", "other"]
    """``same``: as many channels in each layer, drawn at random; ``other``: a random structure."""
    draw: int = Field(ge=0)
    """Number of the draw."""
    similarity: float = Field(default=0.8, gt=0, lt=1)
    """Psi of another structure with the mask's, as near as can be."""


class LatencyAware(Frozen):
    """Saliency is lowered by the latency that removing a channel saves (Sec. 4.3)."""

    weight: float = Field(gt=0)
    """lambda."""
    table: str = Field(pattern="^[0-9a-f]{64}$")
    """Checksum of the latency table; another machine's table is another run."""


class Pruning(Frozen):
    """What is pruned and when."""

    criterion: Criterion
    """Importance, one of :data:`pat.criteria.CRITERIA`."""
    ratio: float = Field(ge=0, lt=1)
    """alpha, the share of neurons to remove."""
    policy: PolicySpec
    """When."""
    steps: int = Field(default=30, ge=1)
    """S of Algorithm 1, at most half of an epoch's iterations."""
    rewind: int | None = Field(default=None, ge=0)
    """Put the mask found in the policy's epoch on the weights after so many epochs, and train from there: 0
    is the lottery ticket on the original initialisation. None: training goes on with the weights it has."""
    variation: Variation | None = None
    """Use another mask instead; needs ``rewind``."""
    latency: LatencyAware | None = None
    """Rank with a penalty on latency."""

    @model_validator(mode="after")
    def _transplants(self) -> Self:
        if self.rewind is not None and not isinstance(self.policy, AtEpoch):
            raise ValueError(f"rewind: needs a policy with a fixed epoch, got {self.policy.kind!r}")
        if self.variation is not None and self.rewind is None:
            raise ValueError("variation: needs rewind, the epochs after which the mask is put on")
        return self


class Neurons(Frozen):
    """What counts as a neuron."""

    count: Literal["filter", "unit"] = "filter"
    """A coupled channel of m layers counts m times, or once."""
    keep_stem: bool = True
    """Leave out the group of the convolution that reads the input."""
    min_channels: int = Field(default=0, ge=0)
    """Channels that every group keeps."""


class Tracking(Frozen):
    """What is watched in dense epochs."""

    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    """Pruning ratios to follow the structure at."""
    look_back: int = Field(default=5, ge=1)
    """r of Eq. 6."""
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)] = ("gradient", "magnitude")
    """Criteria to follow it by; that of a pruned run is followed in any case."""

    @model_serializer(mode="wrap")
    def _as_always(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Records say nothing of the usual criteria."""
        usual = self.criteria == type(self).model_fields["criteria"].default
        return {name: value for name, value in write(self).items() if not (usual and name == "criteria")}


class Spec(Frozen):
    """One run, with everything resolved that decides its result."""

    profile: str = Field(pattern=NAME)
    """The scale it belongs to."""
    dataset: str
    """Name of the manifest."""
    data_checksum: str
    """Checksum of the data that the manifest describes."""
    architecture: str
    """Name in :mod:`pat.training.models`."""
    recipe: Recipe
    """How it is trained."""
    neurons: Neurons = Neurons()
    """What counts as a neuron."""
    tracking: Tracking
    """What is watched in dense epochs."""
    pruning: Pruning | None = None
    """None for a run that is not pruned by Algorithm 1."""
    pretrained: bool = False
    """Start from the weights that the dense run of the same recipe ended with: train, prune, finetune."""
    method: AnyMethod | None = None
    """Train by another method instead. Written as a field of its name."""
    seed: int = Field(ge=0)
    """Of initialisation, data order, augmentation and dropout."""
    threads: int = Field(default=1, ge=1)
    """CPU threads; another number rounds differently."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Kind of device."""
    method_version: int = Field(ge=1)
    """See :data:`METHOD_VERSION`."""

    @model_validator(mode="before")
    @classmethod
    def _named_method(cls, content: Any) -> Any:
        """A method's settings stand in a field of its name, as those of PruneTrain did before others came."""
        if not isinstance(content, Mapping):
            return content
        others = content.keys() - cls.model_fields.keys()
        named = {n: v for n, v in content.items() if n in others and (n in METHODS or isinstance(v, Mapping))}
        rest = {name: value for name, value in content.items() if name not in named}
        given = [(name, settings) for name, settings in named.items() if settings is not None]
        if len(given) + ("method" in rest) > 1:
            raise ValueError(f"expected one method, got {', '.join(name for name, _ in given)}")
        return rest | {"method": given[0]} if given else rest

    @model_serializer(mode="wrap")
    def _method_by_name(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        field = _NO_METHOD if self.method is None else self.method.name
        return {field if name == "method" else name: value for name, value in write(self).items()}

    @model_validator(mode="after")
    def _within_schedule(self) -> Self:
        if self.method is not None and (self.pruning is not None or self.pretrained):
            raise ValueError(f"{self.method.name}: a method of its own, without pruning or pretrained")
        if self.pruning is None:
            return self
        policy, epochs, rewind = self.pruning.policy, self.recipe.epochs, self.pruning.rewind
        if self.pretrained and not isinstance(policy, AtEpoch):
            raise ValueError(f"pretrained: needs a policy with a fixed epoch, got {policy.kind!r}")
        if rewind is not None and self.pretrained:
            raise ValueError("pretrained: does not go with pruning.rewind")
        if rewind is not None and rewind >= epochs:
            raise ValueError(f"pruning.rewind: {rewind} is beyond the schedule of {epochs} epochs")
        for name in policy.epochs:
            epoch = getattr(policy, name)
            if epoch is not None and epoch >= epochs:
                raise ValueError(
                    f"pruning.policy.{name}: {epoch} is beyond the schedule of {epochs} epochs "
                    f"(0 to {epochs - 1})"
                )
        return self

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON without the fields at their default, 64 hex digits.

        A field that is added later with a default leaves the ids of old specs as they were.
        """
        return checksum(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def prunetrain(self) -> PruneTrainSettings | None:
        """The settings of a run by PruneTrain, as its chapter asks for them."""
        return self.method if isinstance(self.method, PruneTrainSettings) else None

    @property
    def trunk(self) -> "Spec":
        """The dense run that this one shares its dense epochs with."""
        return self.model_copy(update={"pruning": None, "pretrained": False, "method": None})

    @property
    def needs(self) -> frozenset[int]:
        """After how many epochs of the trunk this run needs a checkpoint, the start itself left out."""
        if self.pretrained:
            return frozenset({self.recipe.epochs})
        wanted = {self.prune_epoch, self.pruning.rewind if self.pruning else None}
        return frozenset(epochs for epochs in wanted if epochs)

    @property
    def experiment(self) -> str:
        """Which kind of run: dense, sweep, ticket, variation, latency, pretrained, or a method's name."""
        if self.method is not None:
            return self.method.name
        if self.pretrained:
            return "pretrained"
        if self.pruning is None:
            return "dense"
        if self.pruning.variation is not None:
            return "variation"
        if self.pruning.rewind is not None:
            return "ticket"
        return "sweep" if self.pruning.latency is None else "latency"

    @property
    def prune_epoch(self) -> int | None:
        """The pruning epoch, if the spec alone tells (EPI may trigger before its fall-back epoch)."""
        if self.pruning is None or self.pruning.policy.watches:
            return None
        return self.pruning.policy.build(self.seed, self.recipe.epochs).prune_epoch

    @property
    def title(self) -> str:
        """A short description for people."""
        if self.method is not None:
            what = self.method.describe()
        elif self.pruning is None:
            what = "dense"
        else:
            policy = self.pruning.policy
            when = f"by {policy.title}" if self.prune_epoch is None else f"at epoch {self.prune_epoch}"
            what = f"{self.pruning.criterion} {100 * self.pruning.ratio:g} % {when}{_special(self.pruning)}"
        if self.pretrained:
            what += " of the trained network"
        return f"{self.architecture} {what}, seed {self.seed}"


def _special(pruning: Pruning) -> str:
    """What sets a pruned run apart from the oracle sweep's, for its title."""
    text = ""
    if pruning.rewind is not None:
        text += f", rewound to {pruning.rewind}"
    if pruning.variation is not None:
        text += f", {pruning.variation.kind} structure {pruning.variation.draw}"
    if pruning.latency is not None:
        text += f", latency-aware {pruning.latency.weight:g}"
    return text
