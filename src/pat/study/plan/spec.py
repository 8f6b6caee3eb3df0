"""Specs: what a run is, frozen and validated; its id is a hash of what it says."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pat import policy as policies
from pat.criteria import Criterion
from pat.files.sealed import checksum
from pat.training.recipe import Recipe

METHOD_VERSION = 1
"""Raised when the method changes what a run computes, so that old records are not taken for new ones."""


NAME = r"^[a-z0-9][a-z0-9._-]{0,199}$"
"""Names of profiles, which name folders: nothing in them leads elsewhere."""


class Frozen(BaseModel):
    """Base of everything that is written to disk: unknown fields and NaN are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Policy(Frozen):
    """Base of the policies: the kind is always written, though it is each one's default."""

    @model_serializer(mode="wrap")
    def _with_kind(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": getattr(self, "kind"), **write(self)}  # noqa: B009


class AtEpoch(_Policy):
    """Prune in a fixed epoch; 0 is pruning at initialisation."""

    kind: Literal["epoch"] = "epoch"
    epoch: int = Field(ge=0)
    """Counted from 0."""

    def build(self, seed: int) -> policies.Policy:
        return policies.AtEpoch(self.epoch)


class RandomEpoch(_Policy):
    """Prune in an epoch drawn from the run's seed."""

    kind: Literal["random"] = "random"
    low: int = Field(default=0, ge=0)
    """First epoch of the range."""
    high: int = Field(ge=0)
    """Last epoch of the range, inclusive."""

    def build(self, seed: int) -> policies.Policy:
        import torch

        generator = torch.Generator()
        generator.manual_seed(seed)
        return policies.RandomEpoch(self.low, self.high, generator)


class EPI(_Policy):
    """Prune in the epoch after the Early Pruning Indicator triggers."""

    kind: Literal["epi"] = "epi"
    threshold: float = Field(ge=0, le=1)
    """tau."""
    look_back: int = Field(default=5, ge=1)
    """r of Eq. 6."""
    patience: int = Field(default=5, ge=0)
    """Earlier values that EPI_t must not be under."""
    history: Literal["full", "available"] = "full"
    """Whether early epochs with a short history count."""
    fallback: int | None = Field(default=None, ge=0)
    """Epoch to prune in if it has not triggered before."""

    def build(self, seed: int) -> policies.Policy:
        return policies.EPI(self.threshold, self.look_back, self.patience, self.history, self.fallback)


PolicySpec = Annotated[AtEpoch | RandomEpoch | EPI, Field(discriminator="kind")]


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


class PruneTrain(Frozen):
    """Group lasso from the first step on, emptied channels removed every few epochs (Lym et al. 2019)."""

    share: float = Field(gt=0, lt=1)
    """rho: the penalty's share of the loss at the start."""
    interval: int = Field(ge=1)
    """Epochs between two reconfigurations."""
    threshold: float = Field(gt=0)
    """Absolute value under which weights count as zero."""


class Pruning(Frozen):
    """What is pruned and when."""

    criterion: Criterion
    """Importance: gradient (Eq. 3) or magnitude (Eq. 2)."""
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
    prunetrain: PruneTrain | None = None
    """Train by PruneTrain instead."""
    seed: int = Field(ge=0)
    """Of initialisation, data order, augmentation and dropout."""
    threads: int = Field(default=1, ge=1)
    """CPU threads; another number rounds differently."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Kind of device."""
    method_version: int = Field(ge=1)
    """See :data:`METHOD_VERSION`."""

    @model_validator(mode="after")
    def _within_schedule(self) -> Self:
        if self.prunetrain is not None and (self.pruning is not None or self.pretrained):
            raise ValueError("prunetrain: a method of its own, without pruning or pretrained")
        if self.pruning is None:
            return self
        policy, epochs, rewind = self.pruning.policy, self.recipe.epochs, self.pruning.rewind
        if self.pretrained and not isinstance(policy, AtEpoch):
            raise ValueError(f"pretrained: needs a policy with a fixed epoch, got {policy.kind!r}")
        if rewind is not None and self.pretrained:
            raise ValueError("pretrained: does not go with pruning.rewind")
        if rewind is not None and rewind >= epochs:
            raise ValueError(f"pruning.rewind: {rewind} is beyond the schedule of {epochs} epochs")
        if isinstance(policy, AtEpoch) and policy.epoch >= epochs:
            raise ValueError(
                f"pruning.policy.epoch: {policy.epoch} is beyond the schedule of {epochs} epochs "
                f"(0 to {epochs - 1})"
            )
        if isinstance(policy, RandomEpoch) and not policy.low <= policy.high < epochs:
            raise ValueError(
                f"pruning.policy: the range {policy.low} to {policy.high} does not lie in 0 to {epochs - 1}"
            )
        if isinstance(policy, EPI) and policy.fallback is not None and policy.fallback >= epochs:
            raise ValueError(
                f"pruning.policy.fallback: {policy.fallback} is beyond the schedule of {epochs} epochs "
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
    def trunk(self) -> "Spec":
        """The dense run that this one shares its dense epochs with."""
        return self.model_copy(update={"pruning": None, "pretrained": False, "prunetrain": None})

    @property
    def needs(self) -> frozenset[int]:
        """After how many epochs of the trunk this run needs a checkpoint, the start itself left out."""
        if self.pretrained:
            return frozenset({self.recipe.epochs})
        wanted = {self.prune_epoch, self.pruning.rewind if self.pruning else None}
        return frozenset(epochs for epochs in wanted if epochs)

    @property
    def experiment(self) -> str:
        """What kind of run this is: dense, sweep, ticket, variation, latency, pretrained or prunetrain."""
        if self.prunetrain is not None:
            return "prunetrain"
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
        if self.pruning is None or isinstance(self.pruning.policy, EPI):
            return None
        return self.pruning.policy.build(self.seed).prune_epoch

    @property
    def title(self) -> str:
        """A short description for people."""
        if self.prunetrain is not None:
            what = f"PruneTrain {self.prunetrain.share:g}"
        elif self.pruning is None:
            what = "dense"
        else:
            when = "by EPI" if self.prune_epoch is None else f"at epoch {self.prune_epoch}"
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
