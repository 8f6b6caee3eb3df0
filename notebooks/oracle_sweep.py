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
# # Oracle sweep: accuracy against the pruning epoch

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2
ratio = 0.5

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.oracle_sweep.finding import finding
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How, sweep
from pat.study.store import open_store

figures.style()
scale, opened = load_profile(profile), open_store(store)
with progress.in_notebook() as bar:
    records = sweep(scale.sweep(preset), opened, How(jobs=jobs, on_progress=bar))
runs = analysis.runs_table(records)
policies = analysis.regrets(records, scale, preset)
bottleneck = scale.architectures[0]
networks = [name for name in scale.architectures if name in set(runs["architecture"])]

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(Evidence(scale, preset, opened), ratio)}"))

# %% [markdown]
# ## The bottleneck network
#
# The counterpart of the paper's ResNet50. Magnitude (Eq. 2) on the left, gradient (Eq. 3 on BatchNorm) on the
# right. Dots are seeds, bars 95 % intervals of the mean over seeds, the dashed line the dense network. Triangles in
# the strip below mark the epochs in which EPI with the paper's threshold would prune; what it loses there is for the
# chapter on [policies](policies.ipynb). The axis of accuracies starts where the values do, not at zero.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy of the bottleneck network against the pruning epoch. Dots are seeds (crosses if the network collapsed), bars 95 % intervals (Student's t), the dashed line is the dense network with its interval. Triangles: where EPI would prune, in the ratio's colour, the larger the more seeds; none where it stays silent.", "name": "fig-oracle-bottleneck"}, "image": {"alt": "Two panels of accuracy against pruning epoch. Each curve is a pruning ratio, with error bars at the pruning epochs of the grid; a dashed horizontal line is the dense network; rows of triangles in a strip below are EPI's epochs."}}
figures.accuracy_by_epoch(runs, bottleneck, policies)

# %% [markdown]
# The paper draws its curves without a table. What it prints of them stands beside ours here; the images, the
# networks and the schedule are others, so that only the signs can be compared.

# %% tags=["hide-input"]
figures.captioned(
    analysis.beside_the_paper(runs, scale, Paper.read()).rename(
        columns={"paper": "paper, ImageNet", "here": f"{scale.name}, mean [95 % interval]"}
    ),
    f"Ours prunes in epoch {scale.contrast.reference} of {scale.recipe.epochs}, the paper in 10 of 90.",
    index=False,
)

# %% [markdown]
# ## Question and method
#
# **Question.** How does the final accuracy depend on the epoch in which a network is pruned? The paper
# ({cite:t}`shen2022when`, Figs. 3 and 4) reports that pruning at initialisation is worse than a few epochs
# later, that a wide plateau follows, and that pruning late costs accuracy because no time is left to recover.
#
# **Method.** One dense run per network and seed; from its checkpoint before epoch $p$, Algorithm 1 runs
# during epoch $p$ and the smaller network trains on to the end of the schedule. Every run counts, at its
# last epoch, on the test split. Seeds are paired: runs of one seed share everything up to epoch $p$.

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; {scale.recipe.epochs} epochs; {len(records)} runs, "
        f"{runs['seed'].nunique()} seeds, networks {', '.join(runs['architecture'].unique())}. "
        f"{scale.purpose} None of these numbers is the paper's."
    )
)

# %% [markdown]
# ## Interactive version
#
# The same curves with their values under the pointer.

# %% tags=["hide-input"]
figures.hover_accuracy(runs, bottleneck)

# %% [markdown]
# ## The other networks

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the profile's second network, the counterpart of ResNet34.", "name": "fig-oracle-second"}, "image": {"alt": "Accuracy against pruning epoch for the second network, with error bars and the dense network as a dashed line."}}
figures.accuracy_by_epoch(runs, networks[1], policies) if len(networks) > 1 else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the profile's third network, the counterpart of MobileNetV1.", "name": "fig-oracle-third"}, "image": {"alt": "Accuracy against pruning epoch for the third network, with error bars and the dense network as a dashed line."}}
figures.accuracy_by_epoch(runs, networks[2], policies) if len(networks) > 2 else Markdown(
    "*Not run at this scale.*"
)

# %% tags=["hide-input"]
pruned = runs[runs["policy"] == "epoch"]
wide = analysis.by_epoch(pruned, "test_accuracy", digits=1)
figures.captioned(
    wide,
    "Test accuracy in percent by pruning epoch p, mean over seeds ± half the 95 % interval, all networks.",
)

# %% [markdown]
# ## Too early, too late
#
# The two statements of the paper's Sec. 4.1 as differences, paired over seeds: pruning at initialisation, and
# pruning late, both against one epoch a few epochs in. The three epochs stand in the profile, are the same for all
# networks, criteria and ratios, and were chosen before these seeds were run. Where the profile has a range of early
# epochs, as on 90 epochs, the claims compare with the mean over the grid's epochs in it, and not with that one.

# %% tags=["hide-input"]
contrast = scale.contrast
effects = analysis.early_and_late(runs, contrast).rename(
    columns={
        "first": f"p = {contrast.first} minus p = {contrast.reference}",
        "last": f"p = {contrast.last} minus p = {contrast.reference}",
    }
)
figures.captioned(
    effects,
    "Differences of test accuracy in percentage points, mean over paired seeds [95 % interval].",
    index=False,
)

# %% [markdown]
# ## What magnitude does at initialisation
#
# At epoch 0 the weights are still nearly what they were drawn as, and a filter's magnitude says which layer it is
# in: Eq. 2 is the root mean square of its weights, and initialisation draws the weights of a whole layer from one
# distribution, whose width follows from the layer's size. A ranking over all layers then sorts layers, not channels.
# Layers of small initial magnitude go first and may go whole. An empty layer cuts its block: what is left passes by
# the shortcut, if there is one. The table says what Algorithm 1 left of each layer, beside the gradient criterion
# and beside pruning a few epochs in; a column is missing where every run collapsed, because nothing was left.

# %% tags=["hide-input"]
for network in networks:
    shares = analysis.kept_shares(
        records, network, ("magnitude", "gradient"), ratio, (contrast.first, contrast.reference)
    )
    if len(shares):
        formats = {name: "{:.3f}" if name == "initial magnitude" else "{:.0f}" for name in shares.columns}
        display(
            figures.captioned(
                shares.style.format(formats),
                f"{network}, {100 * ratio:g} % pruned: channels of the dense layer, their magnitude in a fresh "
                "network, and the share in percent that is kept, mean over seeds.",
            )
        )

# %% [markdown]
# A network in which no path from input to output is left has *collapsed*: it predicts one class, whatever it sees,
# and its run counts with the accuracy that this has. A single empty layer can hurt as well. All cells of the sweep in
# which either happened:

# %% tags=["hide-input"]
emptied = analysis.emptied_table(records)
figures.captioned(
    emptied.style.format({"empty layers": "{:.1f}"}, na_rep=""),
    "Runs by network, criterion, ratio and pruning epoch: layers left empty (mean over runs), collapsed, failed.",
    index=False,
) if len(emptied) else Markdown("*No run of this sweep emptied a layer.*")

# %% [markdown]
# ## The oracle
#
# The epoch that a grid search would pick for all seeds at once: chosen on the validation split, and beside it the
# paper's way, the maximum over the split that is reported. The second way never comes out lower, and higher by the
# bias in the last column, because a maximum of noisy values is.

# %% tags=["hide-input"]
figures.captioned(
    analysis.oracle(runs).style.format(precision=1),
    "Accuracies are means over seeds in percent.",
    index=False,
)

# %% [markdown]
# ## What pruning saves
#
# Structural pruning at different epochs leaves different structures, and so different costs.

# %% tags=["hide-input"]
figures.captioned(
    analysis.by_epoch(pruned, "macs_share", digits=2),
    "Multiply-accumulates of the pruned network, as a share of the dense network's.",
)

# %% tags=["hide-input"]
figures.captioned(
    analysis.by_epoch(pruned, "training_share", digits=2),
    "Multiply-accumulates of the whole training, as a share of the dense run's.",
)

# %% [markdown]
# ## Limits
#
# It shows the shape of the curve on this scale: whether pruning at epoch 0 is worse, how wide the plateau is,
# and how far the late drop goes. It does not show that the plateau lies at the same share of a training of 90 passes
# over the images, where one epoch is one pass.
# Between two epochs of the grid the lines are no measurement, least of all across a wide gap.
# What the magnitude criterion loses at epoch 0 says little about pruning early and much about ranking random
# weights across layers. Effects of a few tenths of a point, as in the paper's Table 1, cannot be resolved here.

# %% tags=["hide-input"]
ended = runs["status"].value_counts()
display(
    Markdown(
        f"**Cost.** {runs['seconds'].sum() / 60:.1f} minutes of training on {runs['hardware'].iloc[0]} "
        f"(one thread a run). Collapsed runs: {ended.get('collapsed', 0)}; failed: {ended.get('failed', 0)}."
    )
)
