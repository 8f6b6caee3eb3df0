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
# # In-training methods: pruning-aware training and PruneTrain

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2
second_ratio = 0.1

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.in_training.finding import finding
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
scale, opened, paper = load_profile(profile), open_store(store), Paper.read()
own = scale.preset(preset).prunetrain
with progress.in_notebook() as bar:
    records = experiments.run("prunetrain", scale, preset, opened, How(jobs=jobs, on_progress=bar))
# The second network, as far as the store has it from the oracle sweep and the policies' picks.
others = [scale.spec(architecture=name, seed=seed) for name in scale.architectures[1:2] for seed in own.seeds]
dense = [found for spec in others if (found := opened.record(spec))]
picked = [found for spec in analysis.at_epi(dense, scale, second_ratio) if (found := opened.record(spec))]
second = [*dense, *picked] if picked else []
runs = analysis.runs_table(records)
compared = analysis.rivals_table([*records, *second], scale)
network = scale.architectures[0]

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Accuracy against training computation
#
# Up and to the left is better: more accuracy for less computation.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy against the multiply-accumulates of the whole training. Dots are seeds, bars 95 % intervals of the mean in both directions (Student's t); the settings of PruneTrain are joined.", "name": "fig-rivals"}, "image": {"alt": "A panel for each network. One mark with error bars in both directions for the dense run, one for pruning-aware training by EPI with its ratio, and for the first network one for each setting of PruneTrain, joined by a line."}}
figures.accuracy_by_computation(compared)

# %% tags=["hide-input"]
figures.captioned(
    analysis.rival_accuracies(compared),
    "Means over seeds ± half the 95 % interval, all but the multiply-accumulates of one image in percent. PruneTrain "
    "starts in the epoch of its first removal.",
)

# %% [markdown]
# ## Question and method
#
# **Question.** {cite:t}`shen2022when` (Sec. 4.4, Table 2) set their method beside others that prune while they train.
# Against PruneTrain {cite:p}`lym2019prunetrain` they report a higher accuracy and more training computation saved.
# Does that hold where both train the same network on the same data?
#
# **Method.** *PaT by EPI* prunes once, by the gradient criterion, in the epoch that EPI picks with the paper's
# threshold; if EPI stays silent, after a third of the schedule. *PruneTrain* adds a group lasso to the loss from the
# first step on and every few epochs removes the channels that the lasso has emptied. It has no ratio to set: the
# penalty's share $\rho$ of the first loss decides how much goes. Several $\rho$ are trained, and the one whose removed
# filters come nearest to EPI's ratio, mean over all seeds, is compared: chosen by size, never by accuracy. Where even
# the nearest is far away, the comparison is one of different sizes; the table of differences says how far.
#
# Training computation is counted in multiply-accumulates, as a share of the dense run's:
#
# - exactly: every epoch at the cost of the network that it ends with, the pruning epoch at the dense cost, because
#   Algorithm 1 only masks until its end;
# - by the paper's formula $(1 - F_\mathrm{pruned} / F_\mathrm{dense})(T - t)/T$ with starting epoch $t$, which charges
#   the pruning epoch as if it were pruned already, and knows one removal, so that it does not apply to PruneTrain.
#
# Neither counts what the lasso or the importance scores cost beside the network's own passes.

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; {network}, stand-in of the paper's ResNet50, with "
        f"{100 * own.ratio:g} % of the filters removed by PaT; {len(own.seeds)} seeds; PruneTrain removes every "
        f"{own.interval} epochs what no weight of {own.threshold:g} or more is left in. "
        + (
            f"{scale.architectures[1]}, stand-in of ResNet34, with {100 * second_ratio:g} % removed by PaT, from the "
            "runs of the chapter on policies. "
            if picked
            else "The store has no runs of a second network by EPI at the ratio of the paper's ResNet34. "
        )
        + scale.purpose
    )
)

# %% [markdown]
# ## The comparison
#
# PaT minus PruneTrain at the $\rho$ that comes nearest in size. The two columns on the right say how unlike the sizes
# are: if PaT has fewer filters left, a lower accuracy and a larger saving may be due to that alone.

# %% tags=["hide-input"]
figures.captioned(
    analysis.rival_gaps(compared, own, network),
    "Differences in percentage points, mean over paired seeds [95 % interval].",
)

# %% [markdown]
# ## The literature's rows
#
# Table 2 as the paper prints it. **These are the literature's numbers, on ImageNet, not ours**: each from its own
# paper, with its own training recipe, and without intervals. Whether they follow from one another is checked in the
# [audit](audit.ipynb).

# %% tags=["hide-input"]
figures.captioned(
    analysis.literature_table(paper),
    "The literature's numbers on ImageNet, as printed in the paper's Table 2; a dash where it has one.",
)

# %% [markdown]
# ## Limits
#
# It shows both methods under one recipe, which the paper's table does not. Neither was tuned for accuracy: PaT has the
# paper's threshold, and PruneTrain's settings were chosen by how much they remove. So short a training, whatever its epochs are
# called, does not suit PruneTrain, whose lasso moves a weight by a little in every step; the threshold under which a weight counts as zero is
# the profile's, because the authors' own is made for wide networks and long schedules. PruneTrain also lets the number
# of filters come out as it does, and a comparison at one size cannot honour that. The other methods of the paper's
# table are not run.

# %% tags=["hide-input"]
unfinished = runs[runs["status"] != "done"]
display(
    Markdown(
        f"**Cost.** {runs['seconds'].sum() / 60:.1f} minutes of training on {runs['hardware'].iloc[0]} "
        f"(one thread a run). Runs that collapsed or failed: {len(unfinished)} of {len(runs)}."
    )
)
