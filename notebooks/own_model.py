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
# # EPI on your own model and data
#
# **Question.** What does it take to let a training loop of your own find its pruning moment, prune itself, and keep
# the result?
#
# One line: `pat.attach` hooks itself onto the optimizer and counts the epochs. This notebook starts from nothing: a model of its own, data of its own, a plain loop. Of the study
# around `pat` it uses only the drawing of a figure. At the end it takes EPI alone, for a loop that prunes in another
# way, and shows a model that is refused.

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
epochs = 40
ratio = 0.5
threshold = 0.944
seed = 0

# %% [markdown]
# `profile` and `store` are there because every notebook of this book has them; nothing here reads them.
#
# ## Data and model
#
# Scikit-learn's 8 × 8 digits, as tensors in a `DataLoader`. Nothing in the model knows of pruning: a forward pass shows
# it, and finds that the addition ties the channels of two layers together.

# %%
from time import process_time

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

started = process_time()
torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.images).float()[:, None] / 16
labels = torch.tensor(digits.target)
everything = range(len(labels))
train, test = train_test_split(everything, test_size=0.25, stratify=labels, random_state=seed)
train_set = TensorDataset(images[train], labels[train])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, padding=1, bias=False)
        self.conv3 = nn.Conv2d(32, 48, 3, padding=1, bias=False)
        self.conv4 = nn.Conv2d(48, 32, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(16), nn.BatchNorm2d(32)
        self.bn3, self.bn4 = nn.BatchNorm2d(48), nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        branch = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(x + self.bn4(self.conv4(branch)))
        return self.head(x.mean((2, 3)))


# %% [markdown]
# ## The loop
#
# Without the statement that makes `pruner` it is an ordinary training loop. A loop that wants to see each call has three
# of them instead ([](../../reuse.md)). The threshold is the paper's for the gradient
# criterion, tuned on a ResNet50. In a network of few layers one channel weighs more ([](../../method.md)), so take it as a
# setting of your own. `fallback` is the epoch to prune in if EPI stays below it; without one such a run stays dense.

# %%
import pat

torch.manual_seed(seed)
shuffled = torch.Generator().manual_seed(seed)
batches = DataLoader(train_set, 50, shuffle=True, drop_last=True, generator=shuffled)
model = Net()
settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
optimizer = torch.optim.SGD(model.parameters(), **settings)
example = images[:1]
before = pat.cost.measure(model, example)

pruner = pat.attach(
    model,
    optimizer,
    example,
    ratio=ratio,
    steps_per_epoch=len(batches),
    policy=pat.policy.EPI(threshold, fallback=epochs // 2),
)
for _ in range(epochs):
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

# %% [markdown]
# ## When it pruned, and why
#
# Every epoch leaves a report in `pruner.reports`. After a dense epoch it has the structure that
# pruning would leave now, and EPI, which compares that structure with those of the epochs before. EPI is undefined
# until there are enough of them, and triggers once it is high and not falling; the next epoch prunes. It does so in
# steps and ranks anew after each, so the structure that is left can be another one than the structure watched.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: EPI after each dense epoch, and its threshold. Right: the channels of each layer that pruning would leave, and in the pruning epoch the channels that it did leave.", "name": "fig-own-model"}, "image": {"alt": "Two panels over the epochs. Left, EPI as a line with markers and the threshold as a dashed line. Right, one line a layer with the number of channels left. A vertical line in both marks the epoch that pruned."}}
from pat.study import figures

figures.style()
figures.pruning_run(pruner.reports, threshold)

# %% tags=["hide-input"]
for report in pruner.reports:
    if report.counts:
        epi = "undefined" if report.epi is None else f"{report.epi:.3f}"
        print(f"epoch {report.epoch:2d}  {report.status:5s}  EPI {epi:9s}  {report.counts}")

# %% [markdown]
# ## What is left
#
# The model was made smaller in place, and the optimizer went on with the momentum of the channels that stayed.

# %%
model.eval()
after = pat.cost.measure(model, example)
convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d))
with torch.no_grad():
    hits = model(images[test]).argmax(1) == labels[test]
trigger = pruner.policy.indicator.trigger_epoch
by_epi = f"EPI, which triggered after epoch {trigger}"
print("pruned by", "the fallback: EPI had not triggered before it" if trigger is None else by_epi)
print(f"status: {pruner.status}; channels {[m.out_channels for m in convolutions]}")
print(f"multiply-accumulates: {before.macs:,} before, {after.macs:,} now")
print(f"parameters: {before.parameters:,} before, {after.parameters:,} now")
print(f"test accuracy: {100 * hits.float().mean():.1f} % (one seed: {seed})")

# %% [markdown]
# ## Keep it
#
# A pruned model has other shapes than the class that made it. It is saved as weights and structure, without code, and
# loads into a fresh model.

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "pruned.safetensors"
    pat.save_pruned(model, file, {"trained on": "scikit-learn's digits"})
    again = pat.load_pruned(Net(), file).eval()
    print(pat.read_notes(file), f"{file.stat().st_size:,} bytes")
print("the same outputs:", torch.equal(again(example), model(example)))

# %% [markdown]
# ## The signal alone
#
# For a loop that does its own pruning, or only wants to know when a structure has settled. The same parts in four
# steps: channel groups from a trace, scores from gradients, the structure of the best channels, and the indicator. Same
# seed and same data, so these are the values from above, up to the trigger.

# %%
torch.manual_seed(seed)
shuffled.manual_seed(seed)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), **settings)

groups = pat.channels.trace(model, example)
neurons = groups.neurons()  # all but the convolution that reads the input
filters = {name: group.multiplicity for name, group in neurons.items()}
total = sum(neurons[name].size * count for name, count in filters.items())
keep = pat.structure.kept_count(total, ratio)
scores = pat.importance.TaylorScores(model, neurons)
indicator = pat.EarlyPruningIndicator(threshold)

for _ in range(epochs):
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        scores.add()
        optimizer.step()
    kept = pat.structure.top_channels(scores.mean(), keep, filters, 1)
    indicator.update(pat.structure.channel_counts(kept, neurons))
    scores.reset()
    if indicator.triggered:
        break
print("triggered after epoch", indicator.trigger_epoch)

# %%
above = [report.epi for report in pruner.reports if report.status == "dense"]
common = min(len(above), len(indicator.values))
same = indicator.values[:common] == above[:common]
print(f"the values of the loop above, over its {common} dense epochs: {same}")

# %% [markdown]
# What comes next is yours. One call takes the channels out at once, optimizer included:

# %%
pat.surgery.remove(model, kept, groups=groups, optimizer=optimizer)
print(pat.cost.measure(model, example))

# %% [markdown]
# ## A model that is refused
#
# Channels are followed along a real forward pass, through whatever operations it consists of. One that has no rule, where
# channels could go, is named before any training, with its layer and what to leave whole; a rule for an operation of your
# own can be registered with {py:func}`pat.channels.register`.

# %%
from textwrap import fill


class Bounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.third = nn.Conv2d(32, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.renorm(self.first(x), 2, 1, 1.0)
        return self.head(self.third(self.second(x).relu()).mean((2, 3)))


bounded = Bounded()
try:
    pat.channels.trace(bounded, example)
except pat.UnsupportedOperation as refused:
    print(fill(f"refused: {refused}"))
groups = pat.channels.trace(bounded, example, exclude=["first"])
print("prunable with exclude:", list(groups.neurons()))

# %% [markdown]
# **What it shows.** The interface, on one run. **What it does not.** Whether the moment was a good one: that needs runs
# that prune at other moments, which is the [oracle sweep](oracle_sweep.ipynb). The same loop with gradient accumulation,
# mixed precision and other optimizers, and where each call belongs: [](../../reuse.md).

# %% tags=["hide-input"]
print(f"Cost: {process_time() - started:.0f} seconds of one processor core.")
