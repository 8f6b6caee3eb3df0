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
# # Audit: do the paper's numbers follow from its own?

# %% tags=["parameters", "remove-input"]
# Every chapter has these two; no scale and no run changes this one.
profile = "digits"
store = "runs"

# %% tags=["hide-input"]
from IPython.display import HTML, Markdown, display

from pat.study import audit, figures

figures.style()
paper, networks = audit.Paper.read(), audit.read_networks()
checks = audit.checks()

# %% [markdown]
# ## Outcome

# %% tags=["hide-input"]
HTML(audit.tally(checks))

# %% [markdown]
# All that is printed and does not simply come out, in the order of the sections below:

# %% tags=["hide-input"]
display(Markdown(audit.summary(checks)))

# %% [markdown]
# ## Question and method
#
# **Question.** Many numbers of {cite:t}`shen2022when` are derived from others that stand beside them: means,
# savings, ratios, prices. Do they come out when they are computed again, and what follows where they do not?
#
# **Method.** Each number is recomputed from the numbers that the paper prints. A printed number stands for all that
# round to it, so a recomputed one is an interval too. There are four outcomes:
#
# - it **comes out** if the rounding on both sides allows it; a statement such as "higher" comes out if
#   rounding cannot undo it;
# - it comes out **only with another input**, or another reading, which is named;
# - it **does not come out**;
# - it **cannot be recomputed**, because an input is not printed.
#
# A dash instead of a verdict marks what the paper does not print but its numbers imply. What the paper leaves out and
# the audit needs, the cost and the number of layers of the dense networks, is measured on the networks themselves.
# Nothing is trained here, and an error in a derived number says nothing about the experiments under it.

# %% [markdown]
# ## Policies (Table 1)
#
# The table's cells are points of accuracy lost against a grid search over the pruning epoch, lower is better. Its
# overall rows are means over the networks.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The cells of Table 1, networks as rows. Where a policy has no point, the table has a dash.", "name": "fig-audit-policies"}, "image": {"alt": "Two panels, magnitude and gradient criterion. For each of three networks, one marker a policy on a logarithmic axis of points lost."}}
figures.policy_losses(audit.losses(paper), audit.POLICIES)

# %% tags=["hide-input"]
HTML(audit.table(checks, audit.PARTS[0]))

# %% [markdown]
# ## Training computation (Table 2)
#
# The share of the training's FLOPs that pruning saves follows from the cost of the pruned and of the dense network and
# from the starting epoch, by {py:func}`pat.cost.paper_training_reduction`. The dense network's cost is not printed. It
# can be measured, and it can be solved for: the figure shows the cost that each row must have been computed with.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cost of the dense network that each row of Table 2 implies. The ends are what the rounding of the printed numbers allows; dashed, the two networks as measured.", "name": "fig-audit-dense"}, "image": {"alt": "Four rows of Table 2, two of ResNet34 and two of ResNet50, each a point with a short bar on an axis of GFLOPs, and two dashed vertical lines, the measured costs of ResNet34 and ResNet50."}}
measured = {audit.LABELS[name]: networks[name].gflops for name in ("resnet34", "resnet50")}
figures.dense_costs(audit.implied_costs(paper), measured)

# %% tags=["hide-input"]
HTML(audit.table(checks, audit.PARTS[1]))

# %% [markdown]
# ## What training costs (Section 4.3)
#
# The paper gives three prices in dollars. Together they fix what a sparse epoch costs, and with it the epoch in which
# the network must have been pruned.

# %% tags=["hide-input"]
HTML(audit.table(checks, audit.PARTS[2]))

# %% [markdown]
# ## Accuracies (abstract, Table 3, Section 4.5)
#
# Differences of accuracies, and the paper's own measure of how far equal networks differ: several masks of one structure in
# Section 4.5. Intervals are at 95 % and take ± for a standard deviation, which the paper does not say.

# %% tags=["hide-input"]
HTML(audit.table(checks, audit.PARTS[3]))

# %% [markdown]
# ## Steps, epochs and layers (Algorithms 1 and 2)
#
# Counting what the algorithms do. $\mathrm{EPI}_t$ compares with $r$ epochs before $t$ and must not be less than its
# last five values, so a trigger cannot come before epoch $r + 5$, and pruning one epoch later. A layer that is empty in
# one structure and not in the other has the distance 1, so it takes $1/L$ from the similarity {eq}`eq-similarity`, and the
# threshold leaves room for $1 - \tau$: the same event weighs more in a network of fewer layers.

# %% tags=["hide-input"]
HTML(audit.table(checks, audit.PARTS[4]))

# %% [markdown]
# ## Claims that nothing here can test

# %% tags=["hide-input"]
HTML(audit.untested())

# %% [markdown]
# ## Limits
#
# It shows which of the printed numbers hang together, and where a reader should take another one: each table has it in
# its last column. It does not show which accuracies are right, for these cannot be recomputed, and a number that comes
# out may still rest on a measurement that does not. Where two inputs explain a printed number, the audit names the
# one that fits; that the authors used it is a conclusion.

# %% tags=["hide-input"]
display(Markdown(f"**Cost.** No training. {audit.provenance()}"))
