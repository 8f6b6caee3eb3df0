"""The training recipe: one frozen, validated description (Sec. 4, Experimental Settings)."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pat.schedule import warmup_cosine
from pat.training.data.augment import Augment, Decoding

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

_LARGEST = 3.4e38  # of float32: the optimizer refuses to multiply weights by more


class Recipe(BaseModel):
    """How a network is trained: by default as in the paper, SGD, linear warm-up, cosine, label smoothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(ge=1)
    """Epochs of the whole run, T."""
    slices: int = Field(default=1, ge=1)
    """Virtual epochs: one pass over the data is cut into so many epochs, and ``epochs`` counts those."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    learning_rate: float = Field(gt=0, lt=_LARGEST)
    """The highest rate, at the end of the warm-up."""
    warmup_epochs: int = Field(ge=0)
    """Epochs of linear warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the rate does after the warm-up."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """AdamW decays weights apart from its steps; nothing else differs."""
    weight_decay: float = Field(ge=0, lt=_LARGEST)
    """L2 penalty on everything but BatchNorm."""
    momentum: float = Field(default=0.875, ge=0, lt=1)
    """SGD's momentum, AdamW's first beta."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target spread over all classes."""
    augment: Augment = Augment()
    """Changes to training images."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast type of the forward pass; fp16 scales the loss."""
    channels_last: bool = False
    """Memory format of 4-dimensional tensors."""
    decoding: Decoding = "workers"
    """Who decodes and augments images that are streamed. Pixels differ a little, so it is part of a run."""
    validation_images: int | None = Field(default=None, ge=1)
    """Images that an epoch is validated on, spread evenly over the split; the result is measured on all."""

    @model_validator(mode="after")
    def _warmup_within(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs} must be under the {self.epochs} epochs")
        return self

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        if self.schedule == "constant" and epoch >= self.warmup_epochs:
            return self.learning_rate
        return warmup_cosine(
            epoch, epochs=self.epochs, warmup_epochs=self.warmup_epochs, peak=self.learning_rate
        )

    def build_optimizer(self, model: "nn.Module") -> "Optimizer":
        """The optimizer over a model on its device, with weight decay on everything but BatchNorm.

        On an accelerator its update is one kernel a group, which does not wait for what fp16's scaler knows.
        """
        from torch import nn
        from torch.optim import SGD, AdamW

        norms = {
            parameter
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._NormBase)
            for parameter in module.parameters(recurse=False)
        }
        decayed = [p for p in model.parameters() if p not in norms]
        kept = [p for p in model.parameters() if p in norms]
        groups: list[dict[str, Any]] = [{"params": decayed}]
        if kept:
            groups.append({"params": kept, "weight_decay": 0.0})
        fused = True if all(p.is_cuda for p in model.parameters()) else None
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "adamw":
            betas = self.momentum, 0.999
            return AdamW(groups, lr=rate, betas=betas, weight_decay=decay, fused=fused)
        return SGD(groups, lr=rate, momentum=self.momentum, weight_decay=decay, fused=fused)
