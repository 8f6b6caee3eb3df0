"""Mean average precision of a detector, by torchmetrics with pycocotools."""

import torch
from torch import nn
from torchmetrics.detection import MeanAveragePrecision

from pat.training.detection.examples import Examples, batch
from pat.training.detection.outcome import Precision

_BATCH = 50


def precision(model: nn.Module, examples: Examples) -> Precision:
    """COCO's mean average precision on some examples; the model's mode is left as it was.

    Args:
        model: a detector of torchvision: in eval mode a list of images gives boxes, scores and labels.

    Raises:
        ValueError: without examples.
    """
    if len(examples) == 0:
        raise ValueError("a precision needs examples, got none")
    metric = MeanAveragePrecision(iou_type="bbox")
    device, mode = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(examples), _BATCH):
                numbers = range(start, min(start + _BATCH, len(examples)))
                images, targets = batch(examples, numbers)
                found = model([image.to(device) for image in images])
                metric.update([{k: v.cpu() for k, v in each.items()} for each in found], targets)
    finally:
        model.train(mode)
    values = metric.compute()
    return Precision(100 * float(values["map"]), 100 * float(values["map_50"]))
