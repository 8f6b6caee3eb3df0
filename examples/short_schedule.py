"""A short training: EPI counts epochs of a schedule of 90, so it is told of each ninetieth of the steps."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import pat

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
)  # fmt: skip
epochs, batches = 6, len(images) // 32
total = epochs * batches
every = max(1, total // 90)  # steps of what EPI takes for an epoch
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
pruner = pat.PruningAwareTraining(
    model, optimizer, images[:2], ratio=0.5, steps_per_epoch=every,
    policy=pat.policy.EPI(threshold=0.944, fallback=30),
)  # fmt: skip

step = 0
for epoch in range(epochs):
    for batch in torch.randperm(len(images)).split(32)[:batches]:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
        scheduler.step()
        step += 1
        if step % every == 0 and pruner.end_epoch().status == "prune":
            print(f"pruned in epoch {epoch}, after {100 * step / total:.0f} % of the training")
    print(f"epoch {epoch}: {pruner.status}, loss {loss.item():.3f}")
