"""Augmentation: what may happen to a training image, and where."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Decoding = Literal["workers", "device"]
"""Of streamed images: by worker processes with Pillow, or by the training process on its device."""


class Augment(BaseModel):
    """What happens to training images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop_padding: int = Field(default=0, ge=0, le=64)
    """Pixels of black around the image before a crop of the old size at a random place."""
    flip: bool = False
    """Mirror left and right every other time."""
    random_resized_crop: bool = False
    """A crop of 8 to 100 % of the area and aspect 3/4 to 4/3, resized to the image size."""

    @model_validator(mode="after")
    def _one_crop(self) -> Self:
        if self.crop_padding and self.random_resized_crop:
            raise ValueError("crop_padding and random_resized_crop exclude each other")
        return self
