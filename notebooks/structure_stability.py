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

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
jobs = 2
ratios = [0.3, 0.5, 0.8]

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, figures
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.stability.finding import finding
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How, sweep
from pat.study.store import open_store

figures.style()
scale, opened = load_profile(profile), open_store(store)
if unknown := sorted(set(ratios) - set(scale.tracking.ratios)):
    raise ValueError(f"ratios {unknown} are not watched; profile {profile!r} has {scale.tracking.ratios}")
with progress.in_notebook() as bar:
    records = sweep(scale.sweep(preset), opened, How(jobs=jobs, on_progress=bar))
dense = [record for record in records if record.spec.experiment == "dense"]
evidence = Evidence(scale, preset, opened)
stability = analysis.stability_table(dense)
signals = analysis.signal_table(dense, scale)
triggers = analysis.trigger_table(records, scale, preset)
thresholds = analysis.thresholds(triggers, scale)
bottleneck = scale.architectures[0]
first = next(record for record in dense if record.spec.architecture == bottleneck)

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(evidence)}"))

# %% [markdown]
# ## EPI over the epochs

# %% tags=["hide-input"] mystnb={"figure": {"caption": "EPI after each epoch for every pruning ratio, mean over seeds with its 95 % interval (shaded). Dashed: the paper's threshold. The first values come when the look-back window is full.", "name": "fig-epi"}, "image": {"alt": "Two panels of EPI against the epoch, one a criterion; one curve a pruning ratio, the darker the higher, each with a shaded interval. A dashed line in each is the paper's threshold."}}
figures.epi_curves(stability, bottleneck, scale.tau)

# %% [markdown]
# The same curves with their values under the pointer; a click on a ratio hides it.

# %% tags=["hide-input"]
figures.hover_epi(stability, bottleneck, scale.tau)

# %% [markdown]
# Does EPI fall as the ratio rises? Spearman's correlation of the two, mean over a run's epochs: −1 where the
# higher ratio always has the lower EPI.

# %% tags=["hide-input"]
order = analysis.epi_against_ratio(stability)
figures.captioned(
    analysis.summary(order, ["architecture", "criterion"], value="rho").style.format(precision=2, na_rep=""),
    "Rank correlation of EPI with the pruning ratio, mean over seeds with its 95 % interval.",
    index=False,
)

# %% [markdown]
# ## Question and method
#
# **Question.** The paper's Fig. 6 and Sec. 4.5 ({cite:t}`shen2022when`): the structure that pruning would leave
# changes rapidly at first and little thereafter, the more pruning the later it settles, and EPI shows it. Do the
# measures that others use show it as well: rank correlations {cite:p}`spearman1904proof,kendall1938new` of the
# scores, and distances between masks {cite:p}`you2020drawing,chen2021earlybert,ghimire2026one`? And with a threshold
# on each of them: when would it have pruned, and what would that have cost?
#
# **Method.** Dense runs, both criteria, every ratio, every epoch. After epoch $t$ each measure compares $t$
# with the epochs $t-1, \dots, t-r$ and takes the mean, exactly as {eq}`eq-epi` does for $\Psi$, so that all
# look at the same epochs. What pruning in an epoch gives comes from the [oracle sweep](oracle_sweep.ipynb).

# %% tags=["hide-input"]
display(
    Markdown(
        f"**Scale.** {scale.title}; {len(dense)} dense runs of {scale.recipe.epochs} epochs, "
        f"{stability['seed'].nunique()} seeds, r = {scale.tracking.look_back}. {scale.purpose}"
    )
)

# %% [markdown]
# ## The structure itself
#
# Channels per layer that one-shot pruning would keep, and below it what EPI makes of them: each map a ratio,
# each column of it an epoch, first seed. A layer is coloured by its own most, so that the loss of a small layer's
# channels shows as much as $\Psi$ weighs it ({eq}`eq-distance`). A structure has settled where a map no longer
# changes to the right. The line is the epoch in which EPI would prune.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gradient criterion: channels kept in each layer (rows) after each epoch (columns), and EPI on the same epochs with the paper's threshold (dashed). The vertical line is the epoch in which EPI would prune.", "name": "fig-structure-gradient"}, "image": {"alt": "A row of heat maps of layers against epochs, one a pruning ratio, with EPI's curve under each on the same axis. A vertical line through both marks EPI's pruning epoch, where there is one."}}
figures.settling_maps(
    [analysis.settling_of(first, "gradient", ratio, scale) for ratio in ratios],
    f"{bottleneck}, gradient criterion",
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the magnitude criterion.", "name": "fig-structure-magnitude"}, "image": {"alt": "A row of heat maps of layers against epochs for the magnitude criterion, with EPI's curve under each on the same axis and a vertical line at EPI's pruning epoch, where there is one."}}
figures.settling_maps(
    [analysis.settling_of(first, "magnitude", ratio, scale) for ratio in ratios],
    f"{bottleneck}, magnitude criterion",
)

# %% [markdown]
# ## The statements in numbers
#
# Statistics of this kind decide the claims; [the page of claims](../../claims.md) says which ones.
#
# - **settling**: of the structures that Algorithm 1 leaves, $\Psi$ between the contrast's reference epoch and its last one
#   minus $\Psi$ between initialisation and the last one. Above zero: a few epochs in, the structure is nearer to what
#   late pruning leaves.
# - **motion**: mean of $1 - \Psi(N_t, N_{t-1})$ over the first third of the schedule minus that over the last third.
#   Above zero: the structure moves more at first.
# - **EPI and epoch**: rank correlation, 1 where EPI rises all the time.
# - **Ψ − Jaccard**: similarity of structures minus Jaccard index of masks, each over the look-back window, last third of
#   the schedule. Above zero: channels are still exchanged where the numbers per layer stay.

# %% tags=["hide-input"]
figures.captioned(
    analysis.settling_table(evidence, ratios),
    "The bottleneck network, mean over seeds [95 % interval]; empty where the sweep has no such runs.",
    index=False,
)

# %% [markdown]
# ## Beside EPI: rank correlations and mask measures

# %% tags=["hide-input"] mystnb={"figure": {"caption": "EPI beside Spearman's and Kendall's correlation of the scores, mask Hamming distance (drawn as one minus itself) and mask Jaccard index, gradient criterion, same epochs and look-back; means over seeds with 95 % intervals.", "name": "fig-measures-gradient"}, "image": {"alt": "Panels by pruning ratio with five curves each. The correlation curves are the same in all panels, since they do not depend on the ratio."}}
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
figures.captioned(table.style.format("{:.3f}"), "Mean over seeds after the last epoch, by pruning ratio.")

# %% [markdown]
# ## A rule for each measure
#
# Every measure becomes a rule: prune in the epoch after its signal has first reached a threshold. EPI's rule is
# Algorithm 2's, with its condition on the previous values. Early-Bird {cite:p}`you2020drawing` and OCSPruner
# {cite:p}`ghimire2026one` have published theirs for masks. For the rank correlations there is none, so they get EPI's
# without that condition. Records hold for every epoch the mean over the look-back window and the comparison with
# the epoch before; where a published rule looks at something else, the last column says so.
#
# *Published* thresholds are their authors'. *Tuned* ones are chosen for all measures in the same way, the paper's
# (Sec. 4.2): the best mean validation accuracy on the bottleneck network at ratios up to 50 %, one threshold a
# criterion. They are tuned on the seeds that they are shown on, for every measure alike, which flatters all of them.

# %% tags=["hide-input"]
figures.captioned(
    analysis.rules_table(scale, thresholds["tuned"]),
    "What each rule holds against its threshold, up means stable; thresholds for magnitude / gradient where "
    "they differ, a dash where there is none.",
    index=False,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the rules look at, gradient criterion, means over seeds with 95 % intervals. Dashed: published thresholds; dotted: tuned ones.", "name": "fig-signals-gradient"}, "image": {"alt": "Five panels, one a measure, of its signal against the epoch. EPI and the mask measures have one curve a pruning ratio, the rank correlations one for all; horizontal lines are the thresholds."}}
figures.signal_curves(signals, bottleneck, "gradient", ratios, thresholds)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same for the magnitude criterion.", "name": "fig-signals-magnitude"}, "image": {"alt": "Five panels, one a measure, of its signal against the epoch for the magnitude criterion, with the thresholds as horizontal lines."}}
figures.signal_curves(signals, bottleneck, "magnitude", ratios, thresholds)

# %% [markdown]
# ## When would each have pruned?
#
# Grey is the sweep's plateau: the epochs around its best one whose mean accuracy is not under the best one's 95 %
# interval. A rule that does its work puts its marks inside.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The epoch in which each rule would prune, by ratio. Small marks are seeds, those in the top row stay silent; large marks are means with 95 % intervals, drawn where all seeds trigger. Grey: the plateau of the oracle sweep at the ratios that it prunes, with its best epoch.", "name": "fig-triggers"}, "image": {"alt": "Panels by criterion and kind of threshold. Marks by measure show the pruning epoch against the pruning ratio, with grey boxes for the plateaus of the sweep and a row at the top for runs without a trigger."}}
figures.trigger_epochs_by_ratio(
    triggers, analysis.plateaus(records, scale, preset), bottleneck, scale.recipe.epochs
)

# %% tags=["hide-input"]
own = triggers[triggers["architecture"] == bottleneck]
figures.captioned(
    analysis.trigger_epochs(own),
    "Pruning epoch of the bottleneck network, mean over the seeds that trigger (in parentheses how many do, if not "
    "all).",
)

# %% [markdown]
# ## At what regret?
#
# Regret is the test accuracy of the oracle (the grid's best epoch on validation, for each seed by itself) minus that
# of the rule's epoch. An epoch between two of the grid counts linearly between them, for all measures alike; the
# chapter on policies trains EPI's epochs instead. A silent run counts at the pre-defined epoch, a third of the
# schedule, which stands beside the measures: a rule that is no better than it has told nothing.

# %% tags=["hide-input"]
figures.captioned(
    analysis.regret_by_ratio(own),
    "Regret of the bottleneck network in points, mean over seeds ± half the 95 % interval.",
)

# %% tags=["hide-input"]
gaps = analysis.widest_gaps(scale, preset)
fine = [name for name, gap in gaps.items() if gap <= scale.recipe.epochs / 4]
coarse = ", ".join(f"{name} ({gap} epochs)" for name, gap in gaps.items() if name not in fine)
left_out = f" Left out, because between epochs of their grid is too wide a gap: {coarse}." if coarse else ""
figures.captioned(
    analysis.overall_regret(triggers[triggers["architecture"].isin(fine)]),
    "Regret in points, mean over the sweep's ratios and seeds [95 % interval], the smallest first, and after them "
    f"rules that were silent in more than half of the runs; how many runs triggered in time.{left_out}",
    index=False,
) if fine else Markdown(f"*Over all ratios:*{left_out}")

# %% [markdown]
# ## EPI's epochs in all networks
#
# With the paper's thresholds and Algorithm 2's condition on the previous values.

# %% tags=["hide-input"]
choices = analysis.epi_epochs(dense, scale)
figures.captioned(
    choices.pivot(index=["architecture", "criterion", "threshold"], columns="ratio", values="epochs"),
    "Epochs in which EPI would have pruned: mean and range over the seeds in which it triggered in time.",
)

# %% [markdown]
# ## Does EPI watch what Algorithm 1 does?
#
# EPI looks at a *one-shot* top-$k$. Algorithm 1 prunes in steps and ranks again after each. $\Psi$ between the
# one-shot structure of epoch $p-1$ and what Algorithm 1 left after epoch $p$ says how far the indicator's
# object and the real one agree.

# %% tags=["hide-input"]
agreement = analysis.one_shot_similarity(records)
figures.captioned(
    analysis.by_epoch(agreement, "psi", digits=2),
    "Ψ between the one-shot structure before epoch p and Algorithm 1's after it, mean over seeds ± half the "
    "95 % interval.",
)

# %% [markdown]
# ## Weight decay: can the magnitude ranking move at all?
#
# The magnitude criterion ranks norms of filters. Batch normalisation makes the output indifferent to them, so it is
# weight decay, together with the growth that gradients give, that reorders them. Over a run weight decay alone
# shrinks a weight by about $\exp(-\eta \lambda n)$, with the learning rate $\eta$, the weight decay $\lambda$ and $n$
# iterations. Where $\eta \lambda n$ is small against 1 the ranking stays near the initialisation's: measures call it
# stable from the first epochs, rules fire at once, and what they prune was drawn at random. So weight decay and
# schedule of the profiles `digits` and `cifar10-small` were chosen by the rule that $\eta \lambda n$ is about 1,
# together with dense accuracy, before the sweeps and not on what they show. `imagenet` is the recipe that the paper
# names.

# %% tags=["hide-input"]
names = dict.fromkeys([profile, "digits", "cifar10-small", "imagenet"])
figures.captioned(
    analysis.decay_table([load_profile(name) for name in names]).style.format(
        {
            "learning rate": "{:g}",
            "weight decay": "{:.3g}",
            "product": "{:.2f}",
            "over the schedule": "{:.2f}",
        }
    ),
    "Learning rate × weight decay × iterations, with the highest rate and with each epoch's own (warm-up, cosine). "
    "Momentum is left out: it multiplies both by 1 / (1 − momentum).",
    index=False,
)

# %% tags=["hide-input"]
motion = analysis.ranking_motion(dense)
figures.captioned(
    analysis.motion_table(motion),
    "Spearman's correlation of the scores with those of the epoch before: lowest and median of a run's epochs, and "
    "the sum over the epochs of one minus it (how far the ranking moves altogether, 0 if it never does); means over "
    "seeds, the last with its 95 % interval.",
    index=False,
)

# %% [markdown]
# ## Limits
#
# It shows when structures settle on this scale, whether the measures agree about which ratio is the most stable one,
# and whether pruning when a measure says so costs less than pruning at a fixed epoch. It does not show that a stable
# structure is a good one: a measure sees when structures stop moving, not how much time is left to recover. Rules are
# compared on one grid of epochs, with interpolation between them, and with thresholds that are tuned on few seeds;
# where the plateau is wide, every rule that fires neither very early nor very late looks alike. One channel that
# comes and goes in an almost empty layer moves $\Psi$ by up to $1/L$, which matters for a network of few layers.

# %% tags=["hide-input"]
seconds = sum(record.provenance.seconds for record in dense)
display(
    Markdown(f"**Cost.** No run of its own: the sweep's dense runs, {seconds / 60:.1f} minutes of training.")
)
