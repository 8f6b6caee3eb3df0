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
# # When would each have pruned, and what would it have cost?

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display

from pat.study import analysis, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.rival_triggers.finding import finding
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How, sweep
from pat.study.store import open_store

figures.style()
scale, opened = load_profile(profile), open_store(store)
with progress.in_notebook() as bar:
    records = sweep(scale.sweep(preset), opened, How(jobs=jobs, on_progress=bar))
swept = analysis.swept(records, scale, preset)
tuned = analysis.tuned_rivals(swept)
decisions = analysis.rival_decisions(swept, tuned)
left = analysis.left_decisions(records, swept)
bottleneck = scale.architectures[0]
networks = list(dict.fromkeys(decisions["architecture"]))


def shown(table: pd.DataFrame, caption: str, index: bool = True) -> None:
    display(figures.captioned(table, caption, index=index))


# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Side by side
#
# Every row is a rule for the moment to prune, asked of the same dense runs. Left, when it prunes; in the middle, what that
# loses against the best epoch of the sweep; right, what the whole training costs then: the earlier, the cheaper.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gradient criterion, first network: pruning epoch, regret in points of test accuracy and multiply-accumulates of the training in percent of the dense one's, by rule; means over the ratios, then over the seeds with 95 % intervals (Student's t), seeds as dots. Open marks: the rule was silent in more than half of the runs, which count at a third of the schedule. Dotted: the oracle's mean epoch. The regret's axis is linear up to two points, logarithmic beyond.", "name": "fig-rivals-gradient"}, "image": {"alt": "Three panels with a row for each rule and marks with error bars: pruning epoch, regret, and cost of the training. Circles are published thresholds, diamonds tuned ones, squares rules without a threshold; open marks are mostly silent rules."}}
figures.rules_side_by_side(decisions, bottleneck, "gradient")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the magnitude criterion.", "name": "fig-rivals-magnitude"}, "image": {"alt": "Three panels for the magnitude criterion with a row for each rule and marks with error bars: pruning epoch, regret, and cost of the training."}}
figures.rules_side_by_side(decisions, bottleneck, "magnitude")

# %% tags=["hide-input"]
summary = analysis.rival_summary(decisions)
shown(
    summary[summary["network"] == bottleneck].drop(columns="network"),
    "First network: mean pruning epoch of the runs that triggered; how many did; regret in points, mean over the ratios, "
    "then over the seeds [95 % interval]; what a rule loses more than EPI with the paper's thresholds, paired by seed "
    "(uncorrected; negative where it loses less); the training's multiply-accumulates in percent of the dense one's.",
    index=False,
)

# %% [markdown]
# ## Question and method
#
# **Question.** EPI is one answer to *when*. Others draw a ticket when masks no longer move {cite:p}`you2020drawing`, on
# transformers too {cite:p}`chen2021earlybert`, when the kept channels agree {cite:p}`ghimire2026one`, and one could wait
# until the ranking has settled {cite:p}`spearman1904proof,kendall1938new` or the loss has {cite:p}`prechelt1998automatic`, or
# not look at all and take a share of the schedule. When would each of them have pruned the same training, what would it have
# lost, and what would the training have cost?
#
# **Method.** Each rule is a policy that can decide over a run of its own (`pat run --policy NAME`; `pat show methods` lists
# them). Here all are asked after the fact: the records of the dense runs are told to them again, epoch by epoch, and the
# decision is the policy's own code. Records keep structures, losses, and how masks and rankings compare with those of
# earlier epochs, but no masks and no scores. A rule that needs those is named below and not asked.
#
# *Regret* is the test accuracy of the oracle (the grid's best epoch on validation, for each seed by itself) minus that of the
# rule's epoch, and linear between two epochs of the grid, for all rules alike. A rule that stays silent counts at a third of
# the schedule, and one that does so in most runs is marked: its regret is the third's. *Published* thresholds are their
# authors'. *Tuned* ones are chosen for every rule as the paper chooses EPI's (Sec. 4.2), on the first network's validation
# accuracy at ratios up to 50 %, one a criterion.

# %% tags=["hide-input"]
gaps = analysis.widest_gaps(scale, preset)
widest = ", ".join(f"{name} {gap}" for name, gap in gaps.items())
display(
    Markdown(
        f"**Scale.** {scale.title}; {decisions['seed'].nunique()} seeds; {scale.recipe.epochs} epochs, of which EPI "
        f"looks back {scale.tracking.look_back} and has to wait for {scale.first_trigger}. Widest gap between two epochs "
        f"of a network's grid, over which regret is interpolated: {widest}. {scale.purpose}"
    )
)

# %% tags=["hide-input"]
shown(
    analysis.rival_rules(scale, swept.cells, tuned),
    "The rules; the first epoch that each can prune in; thresholds for gradient / magnitude where they differ, a dash where "
    "there is none, each in the rule's own unit; and what is not as its authors do it.",
    index=False,
)

# %% [markdown]
# Two things set these rules apart from their authors' trainings. Masks and scores are those of the run's own criterion, over
# all layers together, where the authors rank their own quantity under a penalty that drives channels towards zero: with it
# masks agree sooner. And windows of three to five epochs are meant for whole passes over the data; where an epoch is a slice
# of a pass, they span less training.

# %% [markdown]
# ## When, by ratio
#
# A rank correlation, the loss and the schedule do not know the ratio. Structures and masks do: what little is removed, or
# left, can hardly differ, so that a fixed distance means something else at every ratio.

# %% tags=["hide-input"]
shown(
    analysis.rival_epochs(decisions[decisions["architecture"] == bottleneck]),
    "Pruning epoch of the first network by ratio, mean over the seeds that trigger (in parentheses how many do, if not all).",
)

# %% [markdown]
# ## At what regret, by ratio

# %% tags=["hide-input"]
shown(
    analysis.rival_regrets(decisions[decisions["architecture"] == bottleneck]),
    "Regret of the first network in points, mean over seeds ± half the 95 % interval. A star: silent in more than half of the "
    "runs, so that the number is that of a third of the schedule.",
)

# %% [markdown]
# ## The other networks
#
# With the thresholds that were tuned on the first one.

# %% tags=["hide-input"]
if networks[1:]:
    shown(summary[summary["network"] != bottleneck], "As for the first network.", index=False)
    coarse = [name for name in networks[1:] if gaps[name] > scale.recipe.epochs / 4]
    if coarse:
        display(
            Markdown(
                f"Between two epochs of the grid of {' and '.join(coarse)} lies more than a quarter of the schedule: regrets of "
                "rules that prune in between are interpolated over all of it and say little."
            )
        )
else:
    display(Markdown("*Not run at this scale.*"))

# %% tags=["hide-input", "hide-output"]
for network in networks[1:]:
    own = decisions[decisions["architecture"] == network]
    shown(analysis.rival_epochs(own), f"Pruning epoch of {network} by ratio, as above.")
    shown(analysis.rival_regrets(own), f"Regret of {network} by ratio, as above.")

# %% [markdown]
# ## A rule of our own: EPI on what Algorithm 1 really leaves
#
# **This is exploration**: it was thought of after the results had been seen, and no verdict uses it. EPI watches a one-shot
# top-$k$; Algorithm 1 prunes in steps, ranks again after each, and leaves
# [another structure](structure_stability.ipynb). A loop could rehearse Algorithm 1 on copies in every epoch and watch what
# that leaves. The records know it where Algorithm 1 did run, in the epochs of the oracle's grid: so the rule is asked of
# those epochs alone, with as many of them as lie in the look-back, and beside it, as its control, EPI on the one-shot
# structure of the same few epochs. What differs between the two is the structure; what differs between the control and EPI is
# the coarser clock.

# %% tags=["hide-input"]
if len(left):
    beside = decisions[decisions["rule"].isin(["EPI", "a third of the schedule", analysis.ORACLE])]
    compared = pd.concat([left, analysis.same_cells(beside, left)])
    shown(
        analysis.rival_summary(compared),
        "The rule, its control, and what they stand beside, in the cells whose grid has epochs that close; columns as above. "
        "The cost does not count the rehearsals.",
        index=False,
    )
    shown(
        analysis.left_against_one_shot(left),
        "The rule against its control: regret in points, paired by seed [95 % interval, uncorrected]; negative where watching "
        "what Algorithm 1 leaves loses less than watching the one-shot structure.",
        index=False,
    )
else:
    display(Markdown("*No grid of this scale has two epochs within a look-back.*"))

# %% [markdown]
# ## Known afterwards: linear mode connectivity
#
# {cite:t}`frankle2020linear` call a training stable from the epoch on from which two trainings with their data in another
# order end without a barrier of error between them. It is no rule that a loop could follow: whether an epoch was stable shows
# when two further trainings from it have ended. {py:func}`pat.rivals.instability.instability` measures it.

# %% tags=["hide-input"]
asked, spent = analysis.instability_spent(scale, preset)
display(
    Markdown(
        f"To know it at the {asked} epochs of the first network's finest grid takes two trainings from each: "
        f"{spent:.1f} dense trainings, where every rule above takes none beside the run itself."
    )
)

# %% [markdown]
# ## Limits
#
# It shows when each rule fires on the same runs, and that what it loses hangs on where the sweep is flat: inside the plateau
# every rule looks alike, and a rule that never fires looks as good as the epoch that it counts at. It does not show these rules
# at their best: their penalties are missing, their windows were made for epochs that are whole passes, and one of them is asked of
# successive masks instead of its own. Tuned thresholds are tuned on the seeds that they are shown on, which flatters all of
# them alike; differences to EPI are many, and their intervals are not corrected for that. An epoch between two of the grid is
# interpolated, which near a collapse is worth little.

# %% tags=["hide-input"]
seconds = sum(record.provenance.seconds for record in records)
display(Markdown(f"**Cost.** No run of its own: the oracle sweep's, {seconds / 60:.0f} minutes of training."))
