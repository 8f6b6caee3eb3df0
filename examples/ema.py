"""An exponential moving average of the weights, cut along with the model, then saved and loaded again."""

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import pat


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)
model = build()
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
pruner = pat.PruningAwareTraining(
    model, optimizer, images[:2], ratio=0.4, steps_per_epoch=20,
    policy=pat.policy.AtEpoch(2), extra_models=[average.module],
)  # fmt: skip
for epoch in range(6):
    for batch in torch.randperm(1280).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
        average.update_parameters(model)
    print(f"epoch {epoch}: {pruner.end_epoch().status}")
with tempfile.TemporaryDirectory() as folder:
    pat.save_pruned(average.module, Path(folder) / "average.safetensors")
    loaded = pat.load_pruned(build(), Path(folder) / "average.safetensors").eval()
accuracy = (loaded(images[1280:]).argmax(1) == labels[1280:]).float().mean()
print(f"average of {loaded[3].out_channels} channels: accuracy {accuracy:.3f}")
