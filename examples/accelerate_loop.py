"""Accelerate's loop: model, optimizer and batches as it prepared them, and one line for the pruning."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pat

torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
)  # fmt: skip
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
batches = DataLoader(TensorDataset(images[:1280], labels[:1280]), batch_size=32, shuffle=True)
model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
pruner = pat.attach(model, optimizer, images[:2], ratio=0.4, steps_per_epoch=20, policy=pat.policy.AtEpoch(2))
for epoch in range(6):
    for some, wanted in batches:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.cross_entropy(model(some), wanted))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
    print(f"epoch {epoch}: {pruner.reports[-1].status}")
bare = accelerator.unwrap_model(model).eval()
accuracy = (bare(images[1280:]).argmax(1) == labels[1280:]).float().mean()
print(f"{bare[3].out_channels} channels: accuracy {accuracy:.3f}")
