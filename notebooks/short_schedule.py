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
# # What a short schedule does to EPI

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
preset = "quick"
short = "digits-24"  # the profile whose schedule is set beside it
also = ""  # another short schedule on which a shorter window was tried
jobs = 2

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, experiments, figures
from pat.study.experiments.short_schedule.finding import finding
from pat.study.plan.profile import load_profile
from pat.study.runs.following import progress
from pat.study.runs.sweep import How
from pat.study.store import open_store

figures.style()
opened, scale = open_store(store), load_profile(short)
known = experiments.names(scale, preset)
wanted = [name for name in ("policies", "virtual") if name in known]
with progress.in_notebook() as bar:
    how = How(jobs=jobs, on_progress=bar)
    found = experiments.run_together(wanted, scale, preset, opened, how)
    schedules = [analysis.Schedule(scale, found["policies"], scale.preset(preset).sweep)]
    if profile != short:
        longer = load_profile(profile)
        records = experiments.run("policies", longer, preset, opened, how)
        schedules.append(analysis.Schedule(longer, records, longer.preset(preset).sweep))

# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(schedules)}"))

# %% [markdown]
# ## On both clocks

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy of the bottleneck network with half of its filters pruned, against the pruning epoch in percent of the schedule; means over the seeds with 95 % intervals (Student's t). Dotted: the first epoch in which EPI can prune. Triangles: where it did, mean over the seeds in which it did.", "name": "fig-short-schedule"}, "image": {"alt": "Two panels, one a criterion, with a dashed curve for the short schedule and a solid one for the long schedule. Vertical dotted lines mark where EPI can first prune: early on the long schedule, near the middle on the short one."}}
figures.accuracy_by_share(schedules)

# %% tags=["hide-input"]
display(
    figures.captioned(
        analysis.schedule_table(analysis.on_both(schedules)),
        "Mean epoch that EPI prunes in, in percent of the schedule, with the paper's thresholds; in how many of the runs it did; "
        "points of test accuracy lost against the oracle [95 % interval over the seeds], by EPI and by pruning after a third of "
        "the schedule. A run in which EPI stays silent counts at the third.",
        index=False,
    )
)

# %% [markdown]
# ## Question and method
#
# **Question.** What does a schedule that is short against EPI's window do to it, with everything else alike?
#
# **Method.** EPI counts epochs. Its look-back and its patience are five each, so that it can prune in epoch 11 at the earliest, counted
# from 0: an eighth of the paper's 90, but nearly half of a schedule of 24. Such a schedule was what this study ran first. The
# training images, the networks and the price of a run are the same on both: on the longer schedule one pass over the images
# counts as several epochs. All runs are those of the [oracle sweep](oracle_sweep.ipynb) and of the [policies](policies.ipynb), on each schedule.

# %% [markdown]
# ## A window scaled to the schedule
#
# Here look-back and patience were shortened with the schedule, and every epoch that EPI then picks was run.
# **This is exploratory**: it was decided on after the first round's results had been seen and is judged on the same seeds. The
# threshold is the paper's, although EPI over a shorter look-back is mostly higher.

# %% tags=["hide-input"]
paper_epochs = load_profile("imagenet").recipe.epochs
for name in dict.fromkeys(filter(None, (short, also))):
    one = load_profile(name)
    window, grid = one.preset(preset).window, one.preset(preset).sweep
    if window is None:
        continue
    with progress.in_notebook() as bar:
        own = experiments.run_together(
            ["policies", "window"], one, preset, opened, How(jobs=jobs, on_progress=bar)
        )
    scaled = analysis.window_regrets(own["window"] + own["policies"], one, window, grid)
    beside = {record.id: record for record in own["window"]}
    for record in own["policies"]:
        beside.pop(record.id, None)
    fell = sum(record.status == "collapsed" for record in beside.values())
    display(
        Markdown(
            f"**{one.title}.** Five epochs are the same share of the paper's {paper_epochs} as "
            f"{5 * one.recipe.epochs / paper_epochs:.1f} of these {one.recipe.epochs}; here look-back r = "
            f"{window.look_back} and patience m = {window.patience}. Of the {len(beside)} runs that it took beside all "
            f"others, {fell} collapsed."
        )
    )
    display(
        figures.captioned(
            analysis.window_regret_table(scaled, one, window),
            "Mean pruning epoch where EPI triggered, and regret in points against the oracle chosen on validation (± half "
            "the 95 % interval over seeds; a silent run counts at the pre-defined epoch). Last, what EPI with the scaled "
            "window loses more than each way (paired, interval uncorrected): negative where it loses less.",
        )
    )

# %% [markdown]
# ## Slices of an epoch
#
# Another way is to count shorter epochs on the short schedule too: one pass over the data is cut into slices, and each slice is
# an epoch to EPI, so that the same look-back and patience cover a shorter stretch of training. When would it trigger then, and
# what would that pick lose?

# %% tags=["hide-input"]
everything = [record for own in found.values() for record in own]
picks = analysis.varied_picks(everything, scale, scale.preset(preset).sweep)
sliced = analysis.varied_picks_table(picks, "slices")
figures.captioned(
    sliced,
    "Epochs of the schedule before EPI (paper's τ) prunes, in parentheses where it stayed silent; and the "
    "regret in points of the sweep's runs that prune then, linear between the epochs that were run, with its 95 % "
    "interval over seeds.",
) if len(sliced) else Markdown("*Not run at this scale.*")

# %% [markdown]
# ## What follows
#
# On a short schedule EPI cannot choose an early epoch, so that a comparison with early epochs says more about the schedule than
# about the method. Whoever trains for a few passes over much data can give EPI the paper's clock
# without training longer: an epoch is whatever `end_epoch()` is called after, see [](../../practice.md).
#
# ## Limits
#
# The two differ in more than the clock: the longer one has more test and validation images, so that its intervals and its
# oracle are surer, a warm-up that is a little longer, and another grid, denser where half of the bottleneck network is
# pruned and coarser elsewhere. Accuracies are not paired by seed. The short
# schedule's verdicts, with rules of their own, are on [](../../protocol.md).

# %% tags=["hide-input"]
runs = {record.id: record for schedule in schedules for record in schedule.records}.values()
seconds = sum(record.provenance.seconds for record in runs)
display(
    Markdown(
        f"**Cost.** {seconds / 3600:.1f} hours of training in {len(runs)} runs, shared with other chapters."
    )
)
