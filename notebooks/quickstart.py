# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: prune while you train
#
# **Question.** What does it take to let a training loop of your own find its pruning moment and prune itself?
#
# Three calls: `step()` after the gradients are there, `after_step()` after the optimizer has moved, and
# `end_epoch()`. The loop below trains a small residual network of its own on scikit-learn's 8 × 8 digits. It
# is a demonstration of the interface, and no evidence for any claim.

# %% tags=["parameters"]
profile = "digits"
store = "runs"
epochs = 40
ratio = 0.5
seed = 0

# %%
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display
from torch import nn

import pat
from pat import paths
from pat.data import Augment, load_manifest, open_dataset
from pat.study import figures
from pat.study.profile import load_profile

figures.style()
threshold = load_profile(profile).tau["gradient"]
torch.manual_seed(seed)
torch.set_num_threads(1)

# %% [markdown]
# ## A model and data
#
# Nothing in the model knows of pruning; `torch.fx` traces it, and an operation through which channels cannot be
# followed would be refused by name.


# %%
def block(channels_in, channels_out, stride=1):
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.down = block(1, 16), block(16, 32, stride=2)
        self.body, self.head = block(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = self.down(self.stem(x))
        return self.head((x + self.body(x)).mean((2, 3)))


data = open_dataset(load_manifest("digits"), root=paths.DATA, device=torch.device("cpu"))
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
example = torch.zeros(1, 1, 8, 8)
before = pat.cost.measure(model, example)

# %% [markdown]
# ## The loop
#
# Without the four lines that name `pruner` it is an ordinary training loop.

# %%
pruner = pat.PruningAwareTraining(
    model,
    optimizer,
    example,
    ratio=ratio,
    steps_per_epoch=data.steps_per_epoch(50),
    policy=pat.policy.EPI(threshold, fallback=epochs // 2),
)
for epoch in range(epochs):
    for images, labels in data.train_batches(batch_size=50, seed=seed, epoch=epoch, augment=Augment()):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
    pruner.end_epoch()

# %% [markdown]
# ## What happened
#
# The indicator compares the structure that pruning would leave after each epoch with the structures of the
# epochs before it ([](../../method.md)). Once it is high and not falling, the next epoch prunes.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The Early Pruning Indicator over the dense epochs of this run, its threshold, and the epoch in which Algorithm 1 pruned.", "name": "fig-quickstart"}, "image": {"alt": "A line that rises over the epochs towards a dashed threshold, and a vertical line at the pruning epoch."}}
import matplotlib.pyplot as plt

pruned = next((report for report in pruner.reports if report.status == "prune"), None)
values = [(report.epoch, report.epi) for report in pruner.reports if report.epi is not None]
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(*zip(*values, strict=True), marker="o", markersize=4, label="EPI") if values else None
axis.axhline(threshold, color=figures.DENSE_COLOUR, linestyle="--", linewidth=1, label="threshold")
if pruned:
    axis.axvline(pruned.epoch, color=figures.CRITERION_COLOURS["magnitude"], label="pruning epoch")
axis.set(xlabel="epoch", ylabel="EPI")
axis.legend()
plt.close(figure)  # shown once, as the cell's result
figure

# %% tags=["hide-input"]
model.eval()
with torch.no_grad():
    batches = list(data.eval_batches("test", batch_size=500))
    correct = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in batches)
after = pat.cost.measure(model, example)
when = f"in epoch {pruned.epoch} of {epochs}" if pruned else "in no epoch"
display(
    Markdown(
        f"Pruned {when}. Channels per layer now: {pruned.counts if pruned else 'all'}. "
        f"Multiply-accumulates of one image: {before.macs:,} before, {after.macs:,} now; parameters: "
        f"{before.parameters:,} before, {after.parameters:,} now. "
        f"Test accuracy at the last epoch: {100 * correct / data.split_size('test'):.1f} % (one seed, {seed})."
    )
)

# %% [markdown]
# ## Keep it
#
# A pruned model is saved as weights and structure, without code, and loads into a fresh dense one.

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    pat.save_pruned(model, Path(folder) / "pruned.safetensors", {"trained on": "digits"})
    again = pat.load_pruned(Net(), Path(folder) / "pruned.safetensors").eval()
    same = torch.equal(again(example), model(example))
same

# %% [markdown]
# **What it shows.** The interface, on one run. **What it does not.** Whether the moment was a good one: that
# needs runs that prune at other moments, which is the [oracle sweep](oracle_sweep.ipynb). More on using `pat`
# in your own code: [](../../reuse.md).
