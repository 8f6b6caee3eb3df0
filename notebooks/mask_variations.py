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
# # Other masks: the structure, or the channels?

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.variations.finding import finding
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
scale, opened, paper = load_profile(profile), open_store(store), Paper.read()
with progress.in_notebook() as bar:
    records = experiments.run("variations", scale, preset, opened, How(jobs=jobs, on_progress=bar))
beside = [found for spec in analysis.trained_beside(records) if (found := opened.record(spec))]
runs = analysis.runs_table(records)
masks = analysis.variations_table([*records, *beside])

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Every run
#
# Zero is the original mask. What lies below it trained to a lower accuracy.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy of every run under another mask minus that of the original mask's run of the same seed, one mark a run.", "name": "fig-masks-runs"}, "image": {"alt": "A panel for each pruning ratio. Over each seed three groups of marks around a zero line: masks of the same structure, the same mask pruned in training, and masks of other structures."}}
figures.accuracy_by_mask(masks)

# %% [markdown]
# ## Question and method
#
# **Question.** EPI watches how many channels each layer would keep, not which. That is enough only if networks of the
# same structure perform alike, whichever channels they kept. {cite:t}`shen2022when` (Sec. 4.5) take the mask of one
# pruned ResNet50, draw other channels for the same structure, and draw other structures, all put on the same
# checkpoint. They report a small difference of accuracy for the first, and more variation for the second.
#
# **Method.** Algorithm 1 finds a mask during epoch $p$. It is put on the checkpoint before that epoch, and the small
# network trains on to the end: the *original*. From the same checkpoint train networks with other masks:
#
# - *same structure*: as many channels in every layer, drawn at random;
# - *other structure*: the same number of filters, or a few less, moved at random between layers until the similarity
#   $\Psi$ ({eq}`eq-similarity`) to the original structure has come down to the wanted value.
#
# The run in which the mask was found, *pruned in training*, stands beside them where the oracle sweep has it. It has
# the original's mask and seed, but shrinks during epoch $p$ and not before it. A random mask could be worse off by
# more than its structure: its channels carry weights that Algorithm 1 had not chosen to keep. Whether it is, the
# finding says.

# %% tags=["hide-input"]
own = scale.preset(preset).variations
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; {', '.join(masks['architecture'].unique())}, "
        f"{own.criterion} criterion, p = {own.epoch}; {masks['seed'].nunique()} seeds, for each {own.same} masks of "
        f"the same structure and {own.other} of others with Ψ about {own.similarity:g}. {scale.purpose} The paper's "
        f"numbers are ResNet50's on ImageNet, from one checkpoint."
    )
)

# %% [markdown]
# ## The paper's measure
#
# The mean *absolute* difference to the original. It is above zero for any two runs that do not end alike, so that by
# itself it says nothing about masks; it needs something to be held against:
#
# - **two draws** of the same kind differ too, by the choice of channels and by the noise of training. If the original
#   were nothing but one more draw, its distance to the draws would be theirs among each other. The *excess* is by how
#   much it is more.
# - **the same mask** pruned in training shows how far two runs lie apart that share the mask and differ in one epoch
#   of training: a measure of that noise, with one value a seed.
#
# With one run a mask, the noise of training and the effect of a mask cannot be told apart further. The distance between
# draws bounds the noise from above.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean absolute difference of test accuracy to the original mask's run. Dots are seeds, bars 95 % intervals of the mean over seeds, dashed lines the mean distance between two draws, open diamonds what the paper prints for one ratio, with the standard deviation over its draws.", "name": "fig-masks-distance"}, "image": {"alt": "A panel for each pruning ratio with a mark and an interval for masks of the same structure, of other structures, and for the same mask pruned in training; a dashed line across the first two, and open diamonds beside them."}}
figures.distance_by_kind(masks, paper)

# %% tags=["hide-input"]
figures.captioned(
    analysis.variation_table(masks, paper),
    "Differences of test accuracy to the original mask's run in points: mean absolute difference, its standard "
    "deviation over the draws, mean signed difference, mean absolute difference between two draws of the kind, and "
    "excess over that. Means over seeds [95 % interval]. Ψ: mean similarity to the original structure.",
)

# %% [markdown]
# ## Limits
#
# It shows how much the choice of channels matters on one checkpoint when every layer's width is given, and how much
# more, or not, when the widths change. The paper's two means lie closer together than its draws of other structures
# scatter, so that its own comparison is open. Random structures at one value of $\Psi$ are not those that training
# passes through: whether a structure that was found a few epochs earlier or later does as well is for the [oracle
# sweep](oracle_sweep.ipynb) to say.

# %% tags=["hide-input"]
unfinished = runs[runs["status"] != "done"]
display(
    Markdown(
        f"**Cost.** {runs['seconds'].sum() / 60:.1f} minutes of training on {runs['hardware'].iloc[0]} "
        f"(one thread a run). Runs that collapsed or failed: {len(unfinished)} of {len(runs)}."
    )
)
