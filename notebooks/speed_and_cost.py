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
# # Speed and cost: what pruning early saves

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.speed.finding import finding
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store
from pat.study.store.speeds import speeds_of

figures.style()
scale, opened = load_profile(profile), open_store(store)
with progress.in_notebook() as bar:
    own = experiments.run("latency", scale, preset, opened, How(jobs=jobs, on_progress=bar))
others = Evidence(scale, preset, opened).experiment("policies")  # more ratios, as far as the store has them
records = list({record.id: record for record in (*own, *others)}.values())
chosen = analysis.speed_table(records, scale, None)
shown = [record for record in records if record.id in set(chosen["id"])]
if opened.trains:
    from pat.study.runs.timing.measuring import measure_speeds

    measure_speeds(shown, opened)
speeds = speeds_of(opened.root, scale.name, shown)
runs = analysis.speed_table(records, scale, speeds)
network, paper = scale.architectures[0], Paper.read()
main = scale.preset(preset).latency.weights[0]

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Speed-up against accuracy

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy against the measured speed-up of a training step (the paper's Fig. 5). Small dots are seeds, marks means with 95 % intervals of both values (Student's t), labelled by ratio. Top right is best; the dashed line is the dense network's accuracy. On the right the marks near it, enlarged. Where several λ were run, the one that the preset names first is drawn.", "name": "fig-speed"}, "image": {"alt": "Accuracy against speed-up, in two panels of which the right one enlarges the marks near the dense network. One line for pruning at initialisation, one for EPI and one for latency-aware pruning, each with marks labelled by pruning ratio and error bars in both directions; a dashed horizontal line is the dense network."}}
dense = {r.spec.seed: r.result.test_accuracy for r in records if r.id in set(runs["dense"])}
figures.speed_and_accuracy(runs, dense.values(), main)

# %% tags=["hide-input"]
figures.captioned(
    analysis.speedup_table(runs),
    "Means over seeds ± half the 95 % interval. Multiply-accumulates and measured step as shares of the dense "
    "network's. Where EPI stays silent the run counts at the pre-defined epoch.",
)

# %% [markdown]
# ## Question and method
#
# **Question.** The paper's Sec. 4.3 and Fig. 5 ({cite:t}`shen2022when`). Does pruning at initialisation leave slower
# networks than pruning in EPI's epoch? Does a penalty on latency make them faster, and at what accuracy? What does
# the whole training cost, beside training the dense network and beside train, prune, finetune?
#
# **Method.** Gradient criterion on the first network, three ways to prune: at *initialisation*, in the epoch that
# *EPI* picks with the paper's threshold, and in that epoch with *latency-aware* ranking. The step of a pruned network
# (forward pass with loss, backward pass, optimizer) is timed beside the dense network's: both are built anew, the
# pruned one by surgery, and take turns in rounds. What counts is the median over rounds of pruned divided by dense,
# so that a busy machine slows both sides. On one CPU thread the clock is the processor's, not the wall's.
#
# Latency-aware ranking lowers each channel's saliency $I$ by the time $\Delta T$ that its removal saves:
#
# $$I' = \frac{I}{\bar I} - \lambda\,\frac{\Delta T}{\overline{\Delta T}},$$
#
# with the means over the channels that are left, anew in each step of Algorithm 1. $\Delta T$ comes from a table of
# measured times of every convolution with its BatchNorm, by input and output channels, of the very machine that
# trains: the layers that produce a channel lose an output, those that read it an input. The paper prints neither
# $\lambda$ nor a scale.

# %% tags=["hide-input"]
ratios = sorted(runs["ratio"].unique())
weights = sorted(runs["weight"].dropna().unique())
measured = (
    f"Steps were measured on {speeds.hardware}, {speeds.threads} thread, batch {speeds.batch}"
    if speeds
    else "No step was measured"
)
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; {network}; {runs['seed'].nunique()} seeds; ratios "
        f"{', '.join(f'{100 * ratio:g}' for ratio in ratios)} %; λ = {', '.join(f'{w:g}' for w in weights)}. "
        f"{measured}; the paper's Fig. 5 on an NVIDIA TITAN V, batch 64. {scale.purpose}"
    )
)

# %% [markdown]
# ## The paper's two statements
#
# *Pruning at initialisation is inefficient*: then the first difference of each ratio lies above zero, in multiply-
# accumulates and in steps. *The latency-aware network is faster*: then the second does; what it costs in accuracy
# stands beside it. Where several λ were run these are differences with the one that the preset names first.

# %% tags=["hide-input"]
display(Markdown(f"λ = {main:g}."))
figures.captioned(
    analysis.differences_table(runs, main),
    "Differences paired over seeds with 95 % intervals: multiply-accumulates and measured step in shares of the "
    "dense network's, test accuracy in points.",
)

# %% [markdown]
# The paper's reason is that pruning at initialisation takes most neurons from the deeper layers. The table of layers
# shows where each way takes them here.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Channels that are kept of each layer in percent, mean over seeds, from the first layer down.", "name": "fig-speed-layers"}, "image": {"alt": "Heat map: rows are layers from input to output, columns initialisation, EPI and latency-aware pruning, each cell the percentage of channels kept."}}
middle = min(ratios, key=lambda ratio: abs(ratio - 0.5))
kept = analysis.kept_by_choice(runs, records, scale, middle, main)
figures.layers_by_choice(kept, f"{network}, gradient {100 * middle:g} %")

# %% [markdown]
# ## Smaller is not as much faster
#
# A step has parts that do not shrink with the channels, and kernels work in blocks of channels. Marks above the
# diagonal are networks whose step is longer than their multiply-accumulates would have it.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Measured training step against multiply-accumulates, both as shares of the dense network's, one mark a run. Dashed: equal.", "name": "fig-speed-macs"}, "image": {"alt": "Scatter plot of measured step time against multiply-accumulates, marks for initialisation, EPI and latency-aware pruning, and a dashed diagonal."}}
figures.step_against_macs(runs)

# %% [markdown]
# ## What training costs
#
# A run that prunes in epoch $p$ has $p + 1$ epochs at the dense cost and the others at the pruned network's. Train,
# prune, finetune is a dense training and a second schedule of the same length with the network that EPI leaves, whose
# first epoch, in which it is pruned, counts as dense. With the same network on both sides the factor compares the
# ways to train and not two structures. Seconds are those of all training steps, without loading and validation.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cost of pruning in training at EPI's epoch, and of train, prune, finetune, in dense trainings: by multiply-accumulates and by the measured time of training steps. Bars are means over seeds with 95 % intervals, open diamonds the paper's prices.", "name": "fig-cost"}, "image": {"alt": "Two panels of bars by pruning ratio, by multiply-accumulates and by measured time. For each ratio a bar for pruning in training and one for train, prune, finetune; a dashed line at one is dense training, diamonds the paper's prices."}}
figures.training_costs(analysis.cost_shares(runs), paper, middle)

# %% tags=["hide-input"]
steps = analysis.training_steps(scale)
figures.captioned(
    analysis.cost_table(runs, steps),
    "Training cost in dense trainings, seconds of training steps on this machine, and by which factor train, prune, "
    "finetune is dearer than pruning in training. Means over seeds ± half the 95 % interval.",
)

# %% [markdown]
# ## The paper's example in dollars
#
# Sec. 4.3 prices training on AWS. The second column has what follows from the paper's other numbers, the last two what
# the shares measured here would come to if a dense training cost as much as the paper's. Nothing here was trained on
# AWS. The [audit](audit.ipynb) has the arithmetic. That train, prune, finetune costs more is so by construction; how
# much more follows from the pruning epoch as a share of the schedule, and not from any accuracy.

# %% tags=["hide-input"]
figures.captioned(
    analysis.price_table(runs, paper, middle),
    f"The paper's prices, recomputed, and with our shares at {100 * middle:g} %, mean over seeds ± half the 95 % "
    "interval. An empty cell: nothing is printed, or nothing follows.",
)

# %% [markdown]
# ## Limits
#
# It shows what the structures that pruning leaves are worth on the machine that is named above, at one batch size:
# a speed-up on another machine is another number, and the paper's GPU has other fixed costs and other blocks than a
# CPU. Networks as small as these spend a large share of a step on what no pruning removes, so multiply-accumulates
# and time tell different stories. A latency table adds up convolutions measured alone; it knows nothing of what
# overlaps, nor of activations and additions. One $\lambda$ was not tuned for each ratio: a penalty that is mild at a low ratio may
# empty what a high one needs. The costs leave out reading data, validation, and the search for thresholds.
# Whether each claim of the paper holds is decided on the [page of claims](../../claims.md) by rules that were fixed before
# the runs.

# %% tags=["hide-input"]
seconds = sum(record.provenance.seconds for record in own)
timing = sum(session.provenance.seconds for session in speeds.sessions) if speeds else 0
collapsed = int((runs["status"] == "collapsed").sum())
display(
    Markdown(
        f"**Cost.** {seconds / 60:.1f} minutes of training in the {len(own)} runs of this experiment, "
        f"{timing / 60:.1f} minutes of measuring steps. Collapsed runs: {collapsed}."
    )
)
