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
# # Structure stability: does EPI settle, and what else would say so?
#
# **Question.** The paper's Fig. 6: the structure that pruning would leave becomes stable early, the more
# pruning the later; EPI shows it. Do the measures that others use show it as well: rank correlations
# {cite:p}`spearman1904proof,kendall1938new` of the scores, and distances between masks
# {cite:p}`you2020drawing,chen2021earlybert`?
#
# **Method.** Dense runs, both criteria, every ratio, every epoch. After epoch $t$ each measure compares $t$
# with the epochs $t-1, \dots, t-r$ and takes the mean, exactly as {eq}`eq-epi` does for $\Psi$, so that all
# look at the same epochs.

# %% tags=["parameters"]
profile = "digits"
store = "runs"
preset = "study"
jobs = 2
ratios = [0.5, 0.8, 0.9]

# %%
from IPython.display import Markdown, display

from pat.study import analysis, figures, progress
from pat.study.profile import load_profile
from pat.study.store import open_store
from pat.study.sweep import sweep

figures.style()
scale = load_profile(profile)
with progress.of_sweep(progress.quiet_console()) as bar:
    records = sweep(scale.sweep(preset), open_store(store), jobs=jobs, on_progress=bar)
dense = [record for record in records if record.spec.pruning is None]
stability = analysis.stability_table(dense)
bottleneck = scale.architectures[0]
if unknown := sorted(set(ratios) - set(scale.tracking.ratios)):
    raise ValueError(f"ratios {unknown} are not watched; profile {profile!r} has {scale.tracking.ratios}")

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; {len(dense)} dense runs of {scale.recipe.epochs} epochs, "
        f"r = {scale.tracking.look_back}; thresholds: the paper's. {scale.purpose}"
    )
)

# %% [markdown]
# ## EPI over the epochs

# %% tags=["hide-input"] mystnb={"figure": {"caption": "EPI after each epoch for every pruning ratio, mean over seeds with one standard deviation; the dashed line is the paper's threshold.", "name": "fig-epi"}, "image": {"alt": "Two panels of EPI curves, one colour a pruning ratio. A dashed line in each is the threshold."}}
figures.epi_curves(stability, bottleneck, scale.tau)

# %% [markdown]
# Does EPI fall as the ratio rises? Spearman's correlation of the two, mean over a run's epochs: −1 where the
# higher ratio always has the lower EPI.

# %% tags=["hide-input"]
order = analysis.epi_against_ratio(stability)
analysis.summary(order, ["architecture", "criterion"], value="rho").style.format(
    precision=2, na_rep=""
).set_table_attributes('class="dataframe table"').hide(axis="index").set_caption(
    "Rank correlation of EPI with the pruning ratio, mean over seeds with its 95 % interval."
)

# %% [markdown]
# ## The structure itself
#
# Channels per layer that the gradient criterion would keep, one column an epoch, first seed.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One-shot structures over the epochs: each row a layer, each column an epoch, colour the channels kept as a share of the layer's maximum.", "name": "fig-structure"}, "image": {"alt": "A heat map of layers against epochs."}}
first = next(record for record in dense if record.spec.architecture == bottleneck)
figures.structure_map(
    analysis.structures(first, "gradient", ratios[0]), f"{bottleneck}, gradient, {100 * ratios[0]:g} % pruned"
)

# %% [markdown]
# ## Beside EPI: rank correlations and mask measures

# %% tags=["hide-input"] mystnb={"figure": {"caption": "EPI beside Spearman's and Kendall's correlation of the scores, mask Hamming distance (drawn as one minus itself) and mask Jaccard index, gradient criterion, same epochs and look-back.", "name": "fig-measures-gradient"}, "image": {"alt": "Panels by pruning ratio with five curves each. The correlation curves are the same in all panels, since they do not depend on the ratio."}}
figures.measure_curves(stability, bottleneck, "gradient", ratios)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the magnitude criterion.", "name": "fig-measures-magnitude"}, "image": {"alt": "Panels by pruning ratio with five curves each for the magnitude criterion."}}
figures.measure_curves(stability, bottleneck, "magnitude", ratios)

# %% [markdown]
# The mask Hamming distance of two masks that keep the same share is at most $2\min(\alpha, 1-\alpha)$, so it
# shrinks with extreme ratios whatever the structures do. Rank correlations do not depend on the ratio at all,
# so no threshold on them can tell a mild pruning from a severe one. The table holds the last dense epoch.

# %% tags=["hide-input"]
ends = stability[(stability["architecture"] == bottleneck) & stability["ratio"].isin(ratios)]
ends = ends[ends["epoch"] == ends["epoch"].max()]
table = ends.pivot_table(index=["criterion", "measure"], columns="ratio", values="value")
table.columns = [f"{100 * ratio:g} %" for ratio in table.columns]
table.style.format("{:.3f}").set_table_attributes('class="dataframe table"').set_caption(
    "Mean over seeds after the last epoch, by pruning ratio."
)

# %% [markdown]
# ## When would EPI have pruned?
#
# With the paper's thresholds and Algorithm 2's condition on the previous five values.

# %% tags=["hide-input"]
choices = analysis.epi_epochs(dense, scale)
choices.pivot(
    index=["architecture", "criterion", "threshold"], columns="ratio", values="epochs"
).style.set_table_attributes('class="dataframe table"').set_caption(
    "Epochs in which EPI would have pruned, one a seed; a dash where it did not trigger in time."
)

# %% [markdown]
# ## Does EPI watch what Algorithm 1 does?
#
# EPI looks at a *one-shot* top-$k$. Algorithm 1 prunes in steps and ranks again after each. $\Psi$ between the
# one-shot structure of epoch $p-1$ and what Algorithm 1 left after epoch $p$ says how far the indicator's
# object and the real one agree.

# %% tags=["hide-input"]
agreement = analysis.one_shot_similarity(records)
analysis.by_epoch(agreement, "psi", digits=2).style.set_table_attributes(
    'class="dataframe table"'
).set_caption(
    "Ψ between the one-shot structure before epoch p and Algorithm 1's after it, mean over seeds ± half the "
    "95 % interval."
)

# %% [markdown]
# ## What it shows, and what not
#
# It shows when structures settle on this scale, and whether the measures agree about which ratio is the most
# stable one. It does not show that a stable structure is a good one; that is for the
# [oracle sweep](oracle_sweep.ipynb) to say. One channel that comes and goes in an almost empty layer moves
# $\Psi$ by up to $1/L$, which matters for a network of few layers.

# %% tags=["hide-input"]
seconds = sum(record.provenance.seconds for record in dense)
display(
    Markdown(f"**Cost.** No run of its own: the sweep's dense runs, {seconds / 60:.1f} minutes of training.")
)
