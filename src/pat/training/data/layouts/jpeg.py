"""Images decoded and cut on the device that trains: on a GPU with nvJPEG, through torchvision."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pat.training.data.layouts import imagefolder

_START = b"\xff\xd8\xff"  # of any JPEG


def decode(files: Sequence[tuple[bytes, Path]], channels: int, device: torch.device) -> list[Tensor]:
    """Contents of files -> uint8 [C, H, W] each on the device, grey (1 channel) or RGB (3).

    All JPEGs at once. What is none, and what a decoder on the device does not take (ImageNet has some of
    four colours), goes through Pillow. Raises `DataError` naming a file that is no image.
    """
    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    jpegs = [i for i, (content, _) in enumerate(files) if content.startswith(_START)]
    found = dict(zip(jpegs, _jpegs([files[i][0] for i in jpegs], mode, device), strict=True))
    return [_image(found.get(i), *file, channels, device) for i, file in enumerate(files)]


def _jpegs(contents: Sequence[bytes], mode: ImageReadMode, device: torch.device) -> list[Tensor | None]:
    """Together, or each alone where one of them cannot be decoded; None for that one."""
    if not contents:
        return []
    raw = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in contents]
    try:
        with warnings.catch_warnings():  # later versions refer to a library of its own, which old ones lack
            warnings.simplefilter("ignore")
            return list(decode_jpeg(raw, mode, device))
    except RuntimeError:
        if len(contents) == 1:
            return [None]
        return [image for content in contents for image in _jpegs([content], mode, device)]


def _image(decoded: Tensor | None, content: bytes, file: Path, channels: int, device: torch.device) -> Tensor:
    if decoded is not None:
        return decoded
    array = imagefolder.to_array(imagefolder.decode(content, channels, file))
    return torch.from_numpy(array.copy()).to(device)


def fitted(image: Tensor, resize: int, size: int) -> Tensor:
    """As :func:`imagefolder.fitted`; going down with an antialiased linear filter, which is there on all
    devices, in place of the area's average."""
    height, width = image.shape[-2:]
    scale = resize / min(height, width)
    if scale != 1:
        shape = [max(resize, round(side * scale)) for side in (height, width)]
        method = InterpolationMode.BILINEAR if scale < 1 else InterpolationMode.BICUBIC
        image = F.resize(image, shape, method, antialias=True)
    top, left = (image.shape[-2] - size) // 2, (image.shape[-1] - size) // 2
    return image[..., top : top + size, left : left + size]
