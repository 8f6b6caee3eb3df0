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
# # Other networks

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study.experiments.comparisons import chapter, figures
from pat.study.experiments.comparisons.networks import OTHER_NETWORKS
from pat.study.style import style

style()
found = chapter.open_chapter(OTHER_NETWORKS, profile, preset, store, jobs)

# %% tags=["remove-input"]
display(Markdown(found.lead()))

# %% [markdown]
# ## Side by side
#
# Further right in the wide panels is better; the narrow ones say at what size.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy at the last epoch, and multiply-accumulates of an image in percent of the dense network's, by way to train, for each network. Means over seeds with 95 % intervals (Student's t; from three values on, cut at 0 and 100 %), seeds as dots. Dotted: the dense runs' mean. A network that collapsed counts with the accuracy of a constant answer and has no size.", "name": "fig-networks"}, "image": {"alt": "Two panels for each network with a row for each way to train and marks with error bars: test accuracy, and the size of the network that is left. Colours tell dense runs, Algorithm 1 in the epoch that EPI picks, in epoch 0, and at a third of the schedule."}}
figures.ways_side_by_side(found.comparison, found.table) if len(found.table) else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"]
for table in found.summaries():
    display(table)

# %% [markdown]
# ## Question and method
#
# **Question.** The claims are decided on ResNets and MobileNetV1. Does waiting for EPI serve on networks of other kinds: a
# chain without shortcuts, one with squeeze-and-excitation and hard swish, one with layer norms in place of BatchNorm?
#
# **Method.** A small VGG with BatchNorm {cite:p}`simonyan2015very`, a small MobileNetV3 {cite:p}`howard2019searching` and a
# small ConvNeXt {cite:p}`liu2022convnet`, each from the blocks that torchvision has, lose half of their neurons by Algorithm 1:
# in epoch 0, at a third of the schedule, and in the epoch that EPI picks with the paper's thresholds, which were made for
# other networks; where EPI stays silent, at a third. ConvNeXt is trained with AdamW, the others with the recipe of this scale.
# Learning rates were chosen by the dense accuracy of one other seed.

# %% tags=["hide-input"]
display(Markdown(found.scale()))

# %% [markdown]
# ## Limits
#
# Networks of this size on these images say how the method goes through their blocks, little about their large relatives. In
# front of a depthwise convolution a BatchNorm's gradient score cancels ([scale
# invariance](../digits/scale_invariance.ipynb)); ConvNeXt has no BatchNorm, so that its channels are scored by their
# weights. Differences are many, and their intervals are not corrected for that.

# %% tags=["hide-input"]
display(Markdown(found.cost()))
