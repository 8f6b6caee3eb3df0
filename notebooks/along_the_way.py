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
# # Pruning along the way

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study.experiments.comparisons import chapter, figures
from pat.study.experiments.comparisons.along_the_way import ALONG_THE_WAY
from pat.study.style import style

style()
found = chapter.open_chapter(ALONG_THE_WAY, profile, preset, store, jobs)

# %% tags=["remove-input"]
display(Markdown(found.lead()))

# %% [markdown]
# ## Side by side
#
# Further right in the wide panels is better; the narrow ones say at what size.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy at the last epoch, and multiply-accumulates of an image in percent of the dense network's, by way to train, for each ratio. Means over seeds with 95 % intervals (Student's t; from three values on, cut at 0 and 100 %), seeds as dots. Dotted: the dense runs' mean. A network that collapsed counts with the accuracy of a constant answer and has no size.", "name": "fig-along-the-way"}, "image": {"alt": "Two panels for each pruning ratio with a row for each way to train and marks with error bars: test accuracy, and the size of the network that is left. Colours tell dense runs, Algorithm 1 in the epoch that EPI picks, Algorithm 1 at a third of the schedule, and other methods."}}
figures.ways_side_by_side(found.comparison, found.table) if len(found.table) else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"]
for table in found.summaries():
    display(table)

# %% [markdown]
# ## Question and method
#
# **Question.** Table 2 of {cite:t}`shen2022when` sets its method beside others that prune in training. PruneTrain has
# [a chapter](../digits/in_training.ipynb) with claims of its own. What do the two others give on the same footing: gradual
# pruning, GPWP {cite:p}`aketi2020gradual`, and learned criteria, LFPC {cite:p}`he2020learning`?
#
# **Method.** All remove the same share of neurons through the same channel groups and the same surgery, from networks with
# the same initial weights and the same order of the data.
#
# - *GPWP* removes the channels with the lowest relevance in six equal steps over the first two thirds of the schedule; the
#   relevance of a step is averaged over an epoch.
# - *LFPC* learns for one epoch by which criterion each group of layers is to lose its channels, and removes the same share of
#   every group at a third of the schedule.
# - *EPI* is Algorithm 1 by the gradient criterion in the epoch that the indicator picks with the paper's threshold; where it
#   stays silent, at a third of the schedule. *A third* is the same there in any case.
#
# What their papers leave open, and how it is filled here, is on the page of [deviations](../../deviations.md).

# %% tags=["hide-input"]
display(Markdown(found.scale()))

# %% [markdown]
# ## Limits
#
# The ratio counts filters, not multiply-accumulates: a method that takes the same share of every layer leaves another size than
# one that ranks all layers together. Of LFPC only the abstract could be read; what learns here is a reading of it. Nothing was
# tuned for either. Differences are many, and their intervals are not corrected for that.

# %% tags=["hide-input"]
display(Markdown(found.cost()))
