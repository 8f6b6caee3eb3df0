"""Hugging Face's Trainer: a callback that attaches the pruning once the optimizer is there."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import pat


class Pruning(TrainerCallback):
    def on_train_begin(self, args, state, control, *, model, optimizer, **others):
        steps = state.max_steps // int(args.num_train_epochs)
        example = torch.zeros(2, 1, 8, 8)
        self.pruner = pat.attach(
            model.net, optimizer, example, ratio=0.4, steps_per_epoch=steps, policy=pat.policy.AtEpoch(2)
        )

    def on_epoch_end(self, args, state, control, **others):
        print(f"epoch {round(state.epoch) - 1}: {self.pruner.reports[-1].status}")


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(pixel_values)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)
data = [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, num_train_epochs=6, per_device_train_batch_size=64, learning_rate=3e-3, report_to="none",
        save_strategy="no", use_cpu=True, disable_tqdm=True, logging_strategy="no",
        dataloader_pin_memory=False,
    )  # fmt: skip
    model = Classifier()
    Trainer(model, arguments, train_dataset=data[:1280], callbacks=[Pruning()]).train()
net = model.net.eval()
accuracy = (net(images[1280:]).argmax(1) == labels[1280:]).float().mean()
print(f"{net[3].out_channels} channels: accuracy {accuracy:.3f}")
