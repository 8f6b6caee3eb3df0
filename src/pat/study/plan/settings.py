"""Settings of the experiments beside the oracle sweep: which cells each one runs at a profile's scale."""

from typing import Annotated

from pydantic import Field

from pat.criteria import Criterion
from pat.study.plan.spec import Frozen

Ratio = Annotated[float, Field(ge=0, lt=1)]
Epoch = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Ratios = Annotated[tuple[Ratio, ...], Field(min_length=1)]


class Tickets(Frozen):
    """Lottery tickets and rewinding (Fig. 3): the first network, one criterion."""

    criterion: Criterion = "gradient"
    """Importance that finds the masks."""
    ratios: Ratios
    """Pruning ratios."""
    epochs: tuple[Epoch, ...]
    """Pruning epochs whose masks are taken."""
    rewind: tuple[Epoch, ...]
    """Epochs whose weights the masks are put on: 0 is the initialisation."""
    seeds: Seeds
    """Seeds."""


class Variations(Frozen):
    """Other masks on one checkpoint (Sec. 4.5)."""

    criterion: Criterion = "gradient"
    """Importance that finds the mask."""
    ratios: Ratios
    """Pruning ratios."""
    epoch: Epoch
    """Pruning epoch; all masks are put on the weights before it."""
    same: int = Field(default=10, ge=1)
    """Masks of the same structure."""
    other: int = Field(default=5, ge=1)
    """Masks of other structures."""
    similarity: float = Field(default=0.8, gt=0, lt=1)
    """Psi of the other structures."""
    seeds: Seeds
    """Seeds."""


class Pretrained(Frozen):
    """Train, prune, finetune, against EPI on a schedule of twice the length and of equal time (Table 3)."""

    criterion: Criterion = "gradient"
    """Importance."""
    ratios: Ratios
    """Pruning ratios."""
    seeds: Seeds
    """Seeds."""


class Rival(Frozen):
    """PruneTrain against EPI at one ratio (Table 2)."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)
    """rho, shares of the first loss; the one whose result comes nearest to the ratio is compared."""
    interval: int = Field(ge=1)
    """Epochs between two reconfigurations."""
    threshold: float = Field(gt=0)
    """Absolute value under which weights count as zero."""
    ratio: Ratio
    """Share of the neurons that EPI's run removes."""
    seeds: Seeds
    """Seeds."""


class Latency(Frozen):
    """Latency-aware pruning at EPI's epoch (Sec. 4.3, Fig. 5)."""

    ratios: Ratios
    """Pruning ratios."""
    weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    """lambda: how much latency weighs against saliency."""
    seeds: Seeds
    """Seeds."""


class Window(Frozen):
    """EPI with another look-back and patience, such as fit a short schedule (exploratory)."""

    look_back: int = Field(ge=1)
    """r of Eq. 6."""
    patience: int = Field(ge=0)
    """How many earlier values EPI must not be under (Algorithm 2)."""


class Steps(Frozen):
    """S of Algorithm 1, at the contrast's reference epoch."""

    values: tuple[Annotated[int, Field(ge=1)], ...]
    """S."""
    ratios: Ratios
    """Pruning ratios."""
    seeds: Seeds
    """Seeds."""


class Units(Frozen):
    """The other reading of what a neuron is: a coupled channel counts once."""

    ratios: Ratios
    """Pruning ratios."""
    epochs: tuple[Epoch, ...]
    """Pruning epochs."""
    seeds: Seeds
    """Seeds."""


class Virtual(Frozen):
    """Virtual epochs: the same samples cut into more epochs, dense runs only."""

    slices: int = Field(ge=2)
    """Virtual epochs of one pass over the data."""
    seeds: Seeds
    """Seeds."""


class Experiments(Frozen):
    """All experiments of one preset; what is left out is not run at this scale."""

    sweep: str
    """Which of the profile's oracle sweeps they stand beside."""
    tickets: Tickets | None = None
    """Lottery tickets."""
    variations: Variations | None = None
    """Other masks."""
    pretrained: Pretrained | None = None
    """Pre-trained networks."""
    prunetrain: Rival | None = None
    """PruneTrain."""
    latency: Latency | None = None
    """Latency-aware pruning."""
    window: Window | None = None
    """EPI with another look-back and patience."""
    steps: Steps | None = None
    """Pruning steps."""
    units: Units | None = None
    """Counting units."""
    virtual: Virtual | None = None
    """Virtual epochs."""
