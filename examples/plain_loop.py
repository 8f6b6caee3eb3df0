"""Pruning-aware training in a plain loop: half of the neurons go when the Early Pruning Indicator says so."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import pat

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)
train, test = slice(0, 1280), slice(1280, None)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
pruner = pat.PruningAwareTraining(
    model, optimizer, images[:2], ratio=0.5, steps_per_epoch=20,
    policy=pat.policy.EPI(threshold=0.944, look_back=2, patience=2, fallback=8),
)  # fmt: skip

for epoch in range(10):
    model.train()
    for batch in torch.randperm(1280).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[train][batch]), labels[train][batch])
        loss.backward()
        pruner.step()  # after the gradients, before the optimizer
        optimizer.step()
        pruner.after_step()  # keeps pruned channels at zero until they are removed
    report = pruner.end_epoch()
    model.eval()
    with torch.no_grad():
        accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean()
    epi = "" if report.epi is None else f", EPI {report.epi:.3f}"
    print(f"epoch {epoch}: {report.status}, accuracy {accuracy:.3f}{epi}")

cost = pat.cost.measure(model, images[:1])
print(f"channels {[m.out_channels for m in model if isinstance(m, nn.Conv2d)]}, {cost.macs} MACs")
