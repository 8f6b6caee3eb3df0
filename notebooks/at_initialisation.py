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

from pat.study.experiments.at_initialisation import cells, figures, summaries
from pat.study.experiments.at_initialisation.finding import finding
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store
from pat.study.style import style
from pat.study.wording import many

style()
scale, opened, extent = load_profile(profile), open_store(store), cells.extent(preset)
with progress.in_notebook() as bar:
    records = cells.initialisation_records(scale, preset, opened, How(jobs=jobs, on_progress=bar))
asked = len(cells.initialisation_specs(scale, preset))
runs = summaries.initialisation_table(records)
ratios = sorted(runs["ratio"].dropna().unique())
network = scale.architectures[0]

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))
if len(records) < asked:
    display(Markdown(f"*{asked - len(records)} of {asked} runs of this comparison are not run yet.*"))

# %% [markdown]
# ## Side by side
#
# Further right in the wide panels is better; the narrow ones say at what size.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy at the last epoch, and multiply-accumulates of an image in percent of the dense network's, by way to prune, for each ratio. Means over seeds with 95 % intervals (Student's t), seeds as dots. Dotted: the dense runs' mean. A network that collapsed counts with the accuracy of a constant answer and has no size.", "name": "fig-at-initialisation"}, "image": {"alt": "Two panels for each pruning ratio with a row for each way to prune and marks with error bars: test accuracy, and the size of the network that is left. Colours tell dense runs, Algorithm 1 in the epoch that EPI picks, Algorithm 1 in epoch 0, and rules that prune before the first step."}}
figures.ways_side_by_side(runs)

# %% tags=["hide-input"]
for ratio in ratios:
    table = summaries.initialisation_summary(runs, ratio).style.set_table_attributes(
        'class="dataframe table"'
    )
    display(
        table.hide(axis="index").set_caption(
            f"{100 * ratio:g} % pruned. Test accuracy in percent; its difference to Algorithm 1 in epoch 0 by the gradient "
            "criterion in points, paired by seed [95 % interval, uncorrected]; mean pruning epoch; multiply-accumulates of an "
            "image, parameters, and multiply-accumulates of the whole training in percent of the dense network's; layers "
            "without a channel; networks without a path from input to output. Means over seeds ± half the 95 % interval."
        )
    )

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
display(
    Markdown(
        f"**Scale.** {scale.title}; {network}; {scale.recipe.epochs} epochs; {many(len(extent.seeds), 'seed')} from "
        f"{extent.seeds[0]} on, which are in no sweep of any profile. **This is exploration**: no claim is decided from "
        f"these runs, and none of the deciding runs is shown here. {scale.purpose}"
    )
)

# %% [markdown]
# ## What is left of the layers
#
# Rules that remove the same number of filters leave networks of other sizes and shapes. A layer at zero is bridged by its
# block's shortcut, or else cuts the network in two; such networks are left out here.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A heat map for each pruning ratio: a row for each layer of the network, a column for each way to prune, and in each cell the mean percentage of the layer's channels that is left."}}
for ratio in ratios:
    display(Markdown(f"{100 * ratio:g} % of the filters pruned; in parentheses the dense layer's channels:"))
    display(figures.widths_side_by_side(summaries.widths_left(records, ratio)))

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
seconds = sum(record.provenance.seconds for record in records)
display(
    Markdown(f"**Cost.** {len(records)} runs, {seconds / 60:.0f} minutes of training (one thread a run).")
)
