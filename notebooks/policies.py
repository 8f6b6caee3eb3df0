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
# # Policies: who decides when to prune, and what it costs

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.policies.finding import finding
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
scale, opened = load_profile(profile), open_store(store)
grid = scale.preset(preset).sweep
known = experiments.names(scale, preset)
wanted = [name for name in ("policies", "steps", "units") if name in known]
with progress.in_notebook() as bar:
    found = experiments.run_together(wanted, scale, preset, opened, How(jobs=jobs, on_progress=bar))
records = found["policies"]
everything = [record for own in found.values() for record in own]
regrets = analysis.regrets(records, scale, grid)
paper = Paper.read()

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened))}"))

# %% [markdown]
# ## Table 1
#
# Regret in points of test accuracy, mean over the ratios, then mean over the seeds ± half its 95 % interval. Under
# each row stands what the paper prints for the network that ours stands in for. **The paper's rows are ImageNet at
# other scales of network, schedule and ratio grid**: signs and order can be compared, sizes cannot. Where one of its
# cells is empty, the paper prints a dash or has no such policy.

# %% tags=["hide-input"]
caption = "Regret in points against the oracle chosen on validation; smaller is better."
figures.captioned(analysis.policy_table(regrets, scale, paper), caption)

# %% tags=["hide-input"]
pruned = analysis.runs_table(records).query("policy == 'epoch'")
by_cell = pruned.assign(fell=pruned["status"] == "collapsed").groupby(["architecture", "criterion"])["fell"]
fallen = [
    f"{network}, {criterion}: {told.sum()} of {told.size}"
    for (network, criterion), told in by_cell
    if told.any()
]
display(
    Markdown(
        f"**Collapsed runs** behind these numbers: {'; '.join(fallen)}. Such a network answers the same to "
        "everything, and its accuracy counts as it is: a mean over them says more about how many collapsed "
        "than about when to prune."
        if fallen
        else "None of the runs behind these numbers collapsed."
    )
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Regret of the policies by network and criterion. Small dots are seeds, marks their mean with its 95 % interval (Student's t), open diamonds the paper's value on ImageNet. Linear up to two points, logarithmic beyond; zero is the oracle.", "name": "fig-policies"}, "image": {"alt": "Two panels, one a criterion, with groups by network. In each group five marks with error bars for random, initialisation, pre-defined, EPI and EPI with a tuned threshold, and open diamonds for the paper's values."}}
figures.regret_by_policy(regrets, analysis.paper_regrets(scale, paper))

# %% [markdown]
# ### The paper's way
#
# The paper takes as oracle the best result of the grid on the split that it reports. A maximum over noisy values
# is too high, by as much as the column *oracle* shows: what even the epoch chosen on validation seems to lose.
# Every policy's loss comes out larger by that amount, and none can be negative but for an epoch off the grid.

# %% tags=["hide-input"]
figures.captioned(
    analysis.policy_table(regrets, scale, paper, "regret_on_test"),
    "Loss in points against the grid's best test accuracy, for each seed by itself.",
)

# %% [markdown]
# ## Question and method
#
# **Question.** The paper's Table 1 ({cite:t}`shen2022when`, Sec. 4.2): how much accuracy does each way of choosing
# the pruning epoch lose against a grid search over epochs? Does EPI, with one threshold for each criterion, lose
# less than a random early epoch, than pruning at initialisation, than a pre-defined epoch?
#
# **Method.** The *oracle* is the best epoch of the [oracle sweep](oracle_sweep.ipynb)'s grid, chosen on the
# validation split for each seed by itself. *Regret* is the oracle's test accuracy minus the policy's, for the same
# network, criterion, ratio and seed: points lost by not knowing the best epoch. Because the oracle is chosen on one
# split and compared on another, a regret can be negative.
#
# | policy | pruning epoch |
# |---|---|
# | random | drawn from 0 to a third of the schedule; here the mean over that range, not a sample |
# | initialisation | 0, with the same criterion |
# | pre-defined | a third of the schedule, as 30 of 90 epochs |
# | EPI, paper's τ | the epoch after EPI triggers, with the paper's threshold |
# | EPI, tuned τ | the same, with a threshold tuned on the first network as the paper did |
#
# A pick that is not on the grid is trained exactly. A run in which EPI stays silent counts at the pre-defined epoch;
# how often that happens is shown.

# %% tags=["hide-input"]
counts = regrets.groupby("criterion")["ratio"].unique()
ratios = "; ".join(
    f"{criterion} {', '.join(f'{100 * ratio:g}' for ratio in sorted(values))} %"
    for criterion, values in counts.items()
)
stand_ins = ", ".join(
    f"{name} for {label}"
    for name, label in zip(scale.architectures, LABELS.values(), strict=False)
    if name in set(regrets["architecture"])
)
uniform = (
    "linear between the epochs of the grid"
    if scale.random_epochs
    else "over the epochs of the grid, which gives initialisation more weight than uniform draws would"
)
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; networks, as stand-ins of the paper's: "
        f"{stand_ins}; {regrets['seed'].nunique()} seeds; ratios: {ratios}. The mean of "
        f"the random policy is {uniform}. {scale.purpose}"
    )
)

# %% [markdown]
# ## The thresholds
#
# The paper tuned τ on ResNet50 over ratios of 10 % to 50 % and carried it to the other networks. The same here, on
# the first network's validation accuracy: of all thresholds that change a pick, the one with the best mean over
# ratios and seeds. A pick between two epochs of the grid counts linearly between them, for tuning alone. Of equally
# good thresholds the lowest is taken, and only those that as many runs as possible reach are looked at, so that a
# threshold cannot win by silence.

# %% tags=["hide-input"]
thresholds = analysis.threshold_table(records, scale, grid)
figures.captioned(
    thresholds,
    "Thresholds by criterion: the paper's, tuned over all seeds, tuned on each seed alone; and in how many of the "
    "runs that they were tuned on EPI triggers.",
    index=False,
)

# %% [markdown]
# ## When EPI prunes

# %% tags=["hide-input"]
figures.captioned(
    analysis.triggered_table(regrets), "Runs in which EPI triggered in time, over all ratios and seeds."
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pruning epochs that the oracle and EPI pick for the first network, one mark a seed, by ratio. Open marks: EPI stayed silent, and the run counts at the pre-defined epoch (dashed).", "name": "fig-picks"}, "image": {"alt": "Two panels, one a criterion. Rows are pruning ratios, the horizontal axis the pruning epoch; stars are the oracle's epochs, triangles and circles EPI's."}}
figures.picked_epochs(regrets, scale.architectures[0])

# %% tags=["hide-input"]
figures.captioned(
    analysis.picks_table(regrets),
    "The same for all networks, over the seeds: mean and range where EPI fired, and in how many it stayed silent.",
)

# %% [markdown]
# With a look-back of $r$ and a patience of $m$ epochs the first trigger that Algorithm 2 allows is after epoch
# $r + m$. On a short schedule that is a large share of it, and may lie beyond the pre-defined epoch.

# %% [markdown]
# ## How much hangs on the threshold
#
# Regret if τ were another, with everything else as it is. No pick changes between two steps of the curve, so it is
# exact but for picks between two epochs that were run, which count linearly between them.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Regret against the threshold (above; mean over ratios, then over seeds, with its 95 % interval) and share of the runs in which EPI triggers (below). A run in which EPI stays silent counts at the pre-defined epoch.", "name": "fig-thresholds"}, "image": {"alt": "Two columns, one a criterion. Above, step curves of regret against the threshold, one line style a network; below, falling step curves of the share of runs that trigger. Vertical lines are the paper's and the tuned threshold."}}
curve = analysis.threshold_curve(records, scale, grid)
figures.threshold_curves(curve, scale.tau, analysis.tuned_thresholds(records, scale, grid))

# %% [markdown]
# ## Look-back and patience
#
# The paper does not give $r$ of Eq. 6, and Algorithm 2 compares with the five values before. The same records,
# watched with other values and the paper's τ.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean regret in points (upper number, colour) and share of runs in which EPI triggered (lower number) for the first network, by look-back and patience. Framed: the values of this study.", "name": "fig-windows"}, "image": {"alt": "Two heat maps, one a criterion, rows look-back, columns patience, each cell with the mean regret and the share of runs that triggered."}}
figures.window_maps(analysis.window_table(records, scale, grid), (scale.tracking.look_back, scale.patience))

# %% [markdown]
# ## Pruning steps
#
# The paper does not give $S$, in how many steps Algorithm 1 prunes. One step is one-shot pruning; between steps the
# remaining channels are ranked again. S is at most half of an epoch's training steps, so that a higher one changes
# nothing. All runs prune with the gradient criterion in the epoch that the profile names as reference.

# %% tags=["hide-input"]
steps = analysis.settings_table(everything, scale, "steps")
figures.captioned(
    steps.style.format({"MACs left": "{:.2f}"}),
    "Test accuracy by S (± half the 95 % interval) over the seeds that have all of them, difference to the usual "
    "S, and multiply-accumulates left, as a share.",
    index=False,
) if len(steps) else Markdown("*Not run at this scale.*")

# %% [markdown]
# ## What counts as a neuron
#
# Channels that a residual connection couples go together. By *filter* such a unit of $m$ layers counts $m$ towards
# the ratio, and Eq. 5 averages over layers; by *unit* it counts once, and Eq. 5 averages over groups. The paper does
# not say which.

# %% tags=["hide-input"]
counts = analysis.settings_table(everything, scale, "count")
figures.captioned(
    counts.style.format({"MACs left": "{:.2f}"}),
    "Test accuracy by what is counted (± half the 95 % interval) over the seeds that have both, difference, and "
    "multiply-accumulates left, as a share. At the same ratio the two leave networks of other sizes.",
    index=False,
) if len(counts) else Markdown("*Not run at this scale.*")

# %% tags=["hide-input"]
varied = analysis.varied_picks(everything, scale, grid)
by_count = analysis.varied_picks_table(varied, "count")
figures.captioned(
    by_count,
    "Epochs in which EPI would prune with the paper's τ, over the seeds that have both.",
) if len(by_count) else Markdown("*Not run at this scale.*")

# %% [markdown]
# ## Limits
#
# It shows what a way of choosing the epoch loses on this scale, paired over seeds, against an oracle that was not
# chosen on the numbers it is compared in. It does not show Table 1's sizes: its differences of one or two tenths
# of a point are far under what so few seeds resolve, and one ratio alone can rule a mean over ratios: the picks and
# the sweep's curves say which. The tuned threshold is tuned and judged on the same seeds of the first network, though on
# other images; for the other networks it is carried over. Whether each claim of the paper holds is decided on the
# [page of claims](../../claims.md), from the runs on 90 epochs, by rules that were fixed before them.

# %% tags=["hide-input"]
runs = {record.id: record for own in found.values() for record in own}.values()
seconds = sum(record.provenance.seconds for record in runs)
collapsed = sum(record.status == "collapsed" for record in runs)
failed = sum(record.status == "failed" for record in runs)
own = len(runs) - len(scale.sweep(grid))
display(
    Markdown(
        f"**Cost.** {seconds / 60:.0f} minutes of training in {len(runs)} runs, {own} of them beside the oracle "
        f"sweep's. Collapsed: {collapsed}; failed: {failed}."
    )
)
