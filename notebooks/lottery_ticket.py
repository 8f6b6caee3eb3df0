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
# # Lottery tickets: the same masks on earlier weights

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.tickets.finding import finding
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
scale, opened = load_profile(profile), open_store(store)
with progress.in_notebook() as bar:
    records = experiments.run("tickets", scale, preset, opened, How(jobs=jobs, on_progress=bar))
runs = analysis.runs_table(records)
tickets = analysis.tickets_table(records)

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Accuracy against the pruning epoch
#
# In colour the network that is pruned in training, in grey its masks on earlier weights. A point of a grey curve at
# $p$ uses the mask of epoch $p$, whatever weights it is put on. Below, the same as differences: above zero, pruning
# in training is better than the ticket.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Above: test accuracy against the epoch whose mask is used, pruned in training and as tickets. Below: pruning in training minus each ticket, paired over seeds. Dots are seeds, bars 95 % intervals of the mean (Student's t); curves are set apart a little sideways.", "name": "fig-tickets"}, "image": {"alt": "Two rows of panels, a column for each pruning ratio. The upper row has accuracy against the pruning epoch, a coloured curve for pruning in training, grey ones for tickets and a dashed line for the dense network. The lower row has the differences to each ticket around a zero line."}}
figures.ticket_curves(tickets, runs[runs["policy"] == "dense"])

# %% tags=["hide-input"]
figures.captioned(
    analysis.ticket_means(tickets, "test_accuracy", 1),
    "Test accuracy in percent by mask and weights, mean over seeds ± half the 95 % interval.",
)

# %% [markdown]
# ## Question and method
#
# **Question.** Is it the mask that makes a pruned network good, or the training that it had before it was pruned?
# The paper ({cite:t}`shen2022when`, Sec. 4.1, Fig. 3 in grey) puts the masks of its oracle sweep on the original
# initialisation, as the lottery ticket hypothesis {cite:p}`frankle2019lottery` has it, and trains from there. It
# reports that pruning during training comes out better.
#
# **Method.** Algorithm 1 finds a mask during epoch $p$. *Pruned in training*, the network goes on with the weights
# that it has. As a *ticket*, the same mask is put on the weights of the same run after $k$ epochs, and the small
# network trains from there to the end of the schedule: $k = 0$ is the original initialisation; other $k$ are
# rewinding {cite:p}`frankle2020linear`. The optimizer's state and the learning rate are those of epoch $k$. Runs of
# one seed share initialisation and order of the data, so they are compared seed by seed.
#
# For $p = 0$ the paper notes that, Algorithm 1 being iterative, the mask is the one at the end of epoch 0. It is so
# here too: pruned in training, the network shrinks step by step during epoch 0; as a ticket it trains through epoch 0
# with the finished mask.

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; {', '.join(tickets['architecture'].unique())}, "
        f"{', '.join(tickets['criterion'].unique())} criterion; {tickets['seed'].nunique()} seeds; {len(records)} "
        f"runs. {scale.purpose} The paper draws this for ResNet50 on ImageNet at one ratio and prints no values."
    )
)

# %% [markdown]
# ## What pruning in training gains
#
# The epochs $p$ and $k$ that were run at this scale are those in the table. If the weights did not matter, the
# differences would be zero for every epoch. If what counts is how much training
# the *mask* has seen, the ticket's own curve would rise with $p$. If what counts is how much training the *weights*
# have seen, rewinding to a later epoch, where that was run, would close the gap.

# %% tags=["hide-input"]
figures.captioned(
    analysis.ticket_table(tickets),
    "Pruning in training minus the ticket with the same mask, in percentage points, mean over paired seeds "
    "[95 % interval].",
)

# %% tags=["hide-input"]
reference = scale.contrast.reference
display(
    Markdown(
        f"The claim is decided at p = {reference}."
        if scale.claims == "claims_first_round" and reference in set(tickets["epoch"])
        else "The claim is decided on the mean over all p after 0."
    )
)

# %% [markdown]
# ## Equal epochs are not equal training
#
# A ticket trains as a small network from epoch $k$ on, a network that is pruned in training only after epoch $p$.
# A late end of the comparison, where it was run, is therefore not even: there the ticket has many epochs left to recover in, the other
# has few. The table has what each training costs by itself; finding a ticket's mask costs the dense epochs up to $p$
# on top of that, so a ticket saves nothing.

# %% tags=["hide-input"]
figures.captioned(
    analysis.ticket_means(tickets, "training_share", 2),
    "Multiply-accumulates of the training as a share of the dense run's, without those that found a ticket's "
    "mask, mean over seeds ± half the 95 % interval.",
)

# %% [markdown]
# ## Limits
#
# It shows, for one network and one criterion at this scale, what the weights are worth that a mask was found with. It
# does not test the lottery ticket hypothesis as it was stated, for single weights, with masks from the end of
# training and a small learning rate {cite:p}`frankle2019lottery`. Whether a mask of whole channels is more than the
# widths of the layers, which {cite:t}`liu2019rethinking` doubt, is tried out in the chapter on [other
# masks](../digits/mask_variations.ipynb).

# %% tags=["hide-input"]
unfinished = tickets[tickets["status"] != "done"]
display(
    Markdown(
        f"**Cost.** {runs['seconds'].sum() / 60:.1f} minutes of training on {runs['hardware'].iloc[0]} "
        f"(one thread a run). Runs that collapsed or failed: {len(unfinished)} of {len(runs)}."
    )
)
