"""AdamW with a learning rate schedule: its moments are cut with the channels, and training goes on."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import pat

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.GELU(),
    nn.Conv2d(16, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.GELU(),
    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(192, 10),
)  # fmt: skip
epochs, steps = 6, len(images) // 64
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs * steps)
pruner = pat.PruningAwareTraining(
    model, optimizer, images[:2], ratio=0.5, steps_per_epoch=steps,
    criterion="magnitude", policy=pat.policy.AtEpoch(2),
)  # fmt: skip

for epoch in range(epochs):
    for batch in torch.randperm(len(images)).split(64)[:steps]:
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
        scheduler.step()
    report = pruner.end_epoch()
    print(f"epoch {epoch}: {report.status}, loss {loss.item():.3f}, structure {report.counts}")

moments = optimizer.state[model[3].weight]["exp_avg"]
print(f"second convolution {tuple(model[3].weight.shape)}, its moments {tuple(moments.shape)}")
