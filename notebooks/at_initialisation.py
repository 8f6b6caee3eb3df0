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
# # Pruning at initialisation

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study.experiments.comparisons import chapter, figures, summaries
from pat.study.experiments.comparisons.at_initialisation import AT_INITIALISATION
from pat.study.style import style

style()
found = chapter.open_chapter(AT_INITIALISATION, profile, preset, store, jobs)

# %% tags=["remove-input"]
display(Markdown(found.lead()))

# %% [markdown]
# ## Side by side
#
# Further right in the wide panels is better; the narrow ones say at what size.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy at the last epoch, and multiply-accumulates of an image in percent of the dense network's, by way to prune, for each ratio. Means over seeds with 95 % intervals (Student's t; from three values on, cut at 0 and 100 %), seeds as dots. Dotted: the dense runs' mean. A network that collapsed counts with the accuracy of a constant answer and has no size.", "name": "fig-at-initialisation"}, "image": {"alt": "Two panels for each pruning ratio with a row for each way to prune and marks with error bars: test accuracy, and the size of the network that is left. Colours tell dense runs, Algorithm 1 in the epoch that EPI picks, Algorithm 1 in epoch 0, and rules that prune before the first step."}}
figures.ways_side_by_side(found.comparison, found.table) if len(found.table) else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"]
for table in found.summaries():
    display(table)

# %% [markdown]
# ## Question and method
#
# **Question.** The column "Init." of Table 1 in {cite:t}`shen2022when` stands for pruning at initialisation, by FORCE or
# iterative SNIP {cite:p}`dejorge2021progressive` in their structured form. The other chapters take Algorithm 1 in epoch 0 for
# it, so that nothing but the epoch differs. Would one of the published rules have done better there?
#
# **Method.** All prune through the same channel groups and the same surgery, rank all layers together, and remove the same
# share of filters; then the same recipe trains what is left to its end.
#
# - *Before the first step*: SNIP in one shot {cite:p}`lee2019snip`, iterative SNIP and FORCE in 60 rounds
#   {cite:p}`dejorge2021progressive`, GraSP in one shot {cite:p}`wang2020picking`, SynFlow in 100 rounds without data
#   {cite:p}`tanaka2020pruning`, and channels drawn at random {cite:p}`frankle2021pruning`. They score single weights; a
#   channel has the sum over its filters ([method](../../method.md)). Rounds are those of their authors; the minibatch is this
#   scale's. In FORCE, channels that are out may come back.
# - *Epoch 0*: Algorithm 1 in the first epoch, by either criterion. It prunes in steps as they do, but trains between them.
# - *EPI*: Algorithm 1 in the epoch that EPI picks with the paper's thresholds; where it stays silent, at a third of the
#   schedule.
#
# Seeds are paired: the same initial weights and the same order of the data.

# %% tags=["hide-input"]
display(Markdown(found.scale()))

# %% [markdown]
# ## What is left of the layers
#
# Rules that remove the same number of filters leave networks of other sizes and shapes. A layer at zero is bridged by its
# block's shortcut, or else cuts the network in two; such networks are left out here.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A heat map for each pruning ratio: a row for each layer of the network, a column for each way to prune, and in each cell the mean percentage of the layer's channels that is left."}}
for panel in found.panels:
    display(Markdown(f"{panel} of the filters pruned; in parentheses the dense layer's channels:"))
    display(figures.widths_side_by_side(summaries.widths_left(found.cells, found.records, panel)))

# %% [markdown]
# FORCE ranks all channels anew by the network that the last round left. The narrower a layer has become, the more each of its
# channels matters, those that are out as well: a layer that lost too much comes back whole, another one empties instead. In the
# rounds that were looked at on this network the swings grew; the records do not keep the masks of single rounds. Where
# nothing may come back, which is iterative SNIP, there are none.

# %% [markdown]
# ## Limits
#
# The ratio counts filters, not multiply-accumulates: a rule that spares the wide images of the first layers keeps a more
# expensive network and may owe its accuracy to that. The rules were made for single weights and larger networks; summed over
# filters they are a reading of ours, and signs of GraSP's scores stay in the sum. Nothing was tuned for any of them.
# Differences are many, and their intervals are not corrected for that. It says nothing about later epochs than EPI's: the
# oracle is in the chapter on the sweep, with other seeds.

# %% tags=["hide-input"]
display(Markdown(found.cost()))
