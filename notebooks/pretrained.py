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
# # Pre-trained networks: prune during training, or after it?

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.pretrained.finding import finding
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
scale, opened, paper = load_profile(profile), open_store(store), Paper.read()
with progress.in_notebook() as bar:
    records = experiments.run("pretrained", scale, preset, opened, How(jobs=jobs, on_progress=bar))
runs = analysis.runs_table(records)
compared = analysis.pretrained_table(records)

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Accuracy
#
# The dashed line is the dense network before it is finetuned, after one schedule and not two.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: test accuracy by pruning ratio for each method. Right: EPI minus train, prune, finetune, paired over seeds; above zero, EPI is better. Dots are seeds, bars 95 % intervals of the mean (Student's t), open diamonds what the paper prints.", "name": "fig-pretrained"}, "image": {"alt": "Two panels over the pruning ratio. Left, three marks with error bars a ratio, one a method, and a dashed line for the dense network. Right, two marks with error bars a ratio around a zero line, and open diamonds at the paper's ratios."}}
figures.pretrained_by_ratio(compared, runs[runs["policy"] == "dense"], paper)

# %% tags=["hide-input"]
figures.captioned(
    analysis.pretrained_accuracies(compared, paper),
    "Test accuracy in percent, mean over seeds ± half the 95 % interval, and EPI minus train, prune, finetune in "
    "points [95 % interval over paired seeds]. The paper's rows are as printed; it gives no interval.",
)

# %% [markdown]
# ## Question and method
#
# **Question.** The usual way is to train a network, prune it, and finetune it. {cite:t}`shen2022when` (Sec. 4.5,
# Table 3) prune a trained ResNet50 and finetune it for as many epochs as it was trained, and give pruning during
# training the same budget: twice the epochs, or the same training time. They report that pruning during training
# comes out better at all three ratios.
#
# **Method.** $T$ is the profile's schedule. All runs have the same criterion and Algorithm 1.
#
# | method | training |
# |---|---|
# | train, prune, finetune | the dense run of $T$ epochs; then $T$ more with a fresh optimizer and the whole schedule of learning rates, in the first of which Algorithm 1 prunes |
# | EPI, equal epochs | one schedule of $2T$ epochs from scratch, pruned when EPI says so |
# | EPI, equal time | one schedule of as many epochs as take the time of train, prune, finetune |
#
# The number of epochs of equal time is computed for each ratio from what the other runs took on the same machine: the
# median dense and the median sparse epoch of each run, since single epochs are disturbed, mean over seeds. What the
# runs took in the end is in the table below. If EPI stays silent, the network is pruned after a third of its schedule.
# The threshold is the paper's.

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; T = {scale.recipe.epochs} epochs; "
        f"{', '.join(compared['architecture'].unique())}, {', '.join(compared['criterion'].unique())} criterion; "
        f"{compared['seed'].nunique()} seeds. {scale.purpose} The paper's numbers are ResNet50's on ImageNet with "
        f"T = {paper.number('setup.epochs').text}."
    )
)

# %% [markdown]
# ## What each spent
#
# Equal epochs are not equal work: a network that is pruned early is cheaper for the rest of its schedule, one that is
# pruned after its training was expensive for all of it.

# %% tags=["hide-input"]
figures.captioned(
    analysis.spent_table(compared),
    "What the whole training took, the dense one before finetuning included: epochs, minutes (one thread), and "
    "multiply-accumulates in units of one dense run; means over seeds ± half the 95 % interval. Last, the pruning epochs.",
)

# %% tags=["hide-input"]
seconds = analysis.dense_epoch_seconds(records)
display(
    Markdown(
        f"**How equal the times are.** Dense epochs are the same work in all runs; their median took from "
        f"{seconds.min():.2f} to {seconds.max():.2f} s, by run. As far as the two are apart, other work on the machine "
        f"has disturbed what was measured, and with it the number of epochs of equal time. Multiply-accumulates are "
        f"not disturbed."
    )
)

# %% [markdown]
# ## Limits
#
# It shows which way of spending a doubled budget ends better at this scale. The two differ in more than the moment of
# pruning: finetuning raises the learning rate once more, so that its network sees two cycles of it, and it ranks
# channels with a trained network's gradients. The paper prunes and finetunes "in the same setting" and does not name
# the learning rates. It does not show what a user gains who has a trained network already, for whom the first half is
# free.

# %% tags=["hide-input"]
unfinished = runs[runs["status"] != "done"]
display(
    Markdown(
        f"**Cost.** {runs['seconds'].sum() / 60:.1f} minutes of training on {runs['hardware'].iloc[0]} "
        f"(one thread a run). Runs that collapsed or failed: {len(unfinished)} of {len(runs)}."
    )
)
