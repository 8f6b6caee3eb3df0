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
# # Other recipes

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study.experiments.comparisons import chapter, figures
from pat.study.experiments.comparisons.recipes import OTHER_RECIPES
from pat.study.style import style

style()
found = chapter.open_chapter(OTHER_RECIPES, profile, preset, store, jobs)

# %% tags=["remove-input"]
display(Markdown(found.lead()))

# %% [markdown]
# ## Side by side
#
# Further right in the wide panels is better; the narrow ones say at what size.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy at the last epoch, and multiply-accumulates of an image in percent of the dense network's, by way to train, for each recipe. Means over seeds with 95 % intervals (Student's t; from three values on, cut at 0 and 100 %), seeds as dots. Dotted: the dense runs' mean. A network that collapsed counts with the accuracy of a constant answer and has no size.", "name": "fig-recipes"}, "image": {"alt": "Two panels for each recipe or data set with a row for each way to train and marks with error bars: test accuracy, and the size of the network that is left. Colours tell dense runs, Algorithm 1 in the epoch that EPI picks, in epoch 0, and at a third of the schedule."}}
figures.ways_side_by_side(found.comparison, found.table) if len(found.table) else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"]
for table in found.summaries():
    display(table)

# %% [markdown]
# ## Question and method
#
# **Question.** The paper trains with SGD, a warm-up of eight epochs and a cosine over ninety. Is the moment that EPI finds one
# of that recipe?
#
# **Method.** The first network loses half of its neurons by the gradient criterion: in epoch 0, at a third of the schedule,
# and in the epoch that EPI picks with the paper's threshold; where EPI stays silent, at a third. One thing differs at a time:
#
# - *AdamW* in place of SGD;
# - *one cycle*: the rate rises over three tenths of the schedule before its cosine;
# - *a constant rate* after the warm-up;
# - *half of the images*: a training half as long, cut into as many epochs, so that the indicator's clock ticks twice as fast;
# - *digits of 8 pixels*: scikit-learn's images as they are, fewer and easier, with a whole pass an epoch.
#
# Learning rates of the first and third were chosen by the dense accuracy of one other seed.

# %% tags=["hide-input"]
display(Markdown(found.scale()))

# %% [markdown]
# ## Limits
#
# One network, one criterion, one ratio. A rate that never falls leaves a network that was not settled at its last epoch: its
# accuracies scatter. The threshold is the paper's for its own recipe; how to choose one for another is on the page for
# [practitioners](../../practice.md). Differences are many, and their intervals are not corrected for that.

# %% tags=["hide-input"]
display(Markdown(found.cost()))
