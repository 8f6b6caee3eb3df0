"""Gradient accumulation, clipping and mixed precision: the pruner reads what the optimizer will read."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import pat

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
precision = torch.float16 if device == "cuda" else torch.bfloat16
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32, device=device)[:, None] / 16
labels = torch.tensor(digits.target, device=device)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
).to(device)  # fmt: skip
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler(device, enabled=device == "cuda")  # bfloat16 needs no scaling
parts, steps = 4, 14  # each optimizer step adds up the gradients of 4 parts of 32 images
pruner = pat.PruningAwareTraining(
    model, optimizer, images[:2], ratio=0.5, steps_per_epoch=steps, policy=pat.policy.AtEpoch(2)
)

for epoch in range(5):
    order = torch.randperm(len(images), device=device)
    for step in range(steps):
        for part in order[step * parts * 32 :][: parts * 32].split(32):
            with torch.autocast(device, precision):
                loss = nn.functional.cross_entropy(model(images[part]), labels[part]) / parts
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        pruner.step()  # once an optimizer step, on unscaled and clipped gradients
        scaler.step(optimizer)
        scaler.update()
        pruner.after_step()
        optimizer.zero_grad()
    report = pruner.end_epoch()
    print(f"epoch {epoch}: {report.status}, loss {parts * loss.item():.3f}, skipped {report.skipped}")
print(f"channels {[m.out_channels for m in model if isinstance(m, nn.Conv2d)]}")
