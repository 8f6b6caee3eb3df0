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
# # Your own run
#
# All other chapters are made from the published records. This one draws the runs of a store of your own over them, with
# the published means and their intervals: what `make study` trains, or any part of it.

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "results"
preset = "full"
own = "runs"
own_preset = "study"

# %% tags=["hide-input"]
from IPython.display import Markdown, display

from pat.study import analysis, figures
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import load_profile
from pat.study.store import open_store
from pat.study.store.comparing import compare

figures.style()
scale, published, mine = load_profile(profile), open_store(store), open_store(own)
wanted = scale.sweep(own_preset)
records = [record for spec in wanted if (record := mine.record(spec)) is not None]
known = Evidence(scale, preset, published).sweep or Evidence(scale, own_preset, published).sweep
runs, beside = analysis.runs_table(records), analysis.runs_table(known)

# %% tags=["remove-input"]
if records:
    found = compare(records, published)
    same = f"{found.equal} are equal to the published ones to the last digit"
    if found.different:
        same += (
            f", {len(found.different)} are not: their test accuracies differ by up to {found.largest:.1f} points. On the "
            "processor and with the versions of the published ones all are equal; another processor rounds "
            "differently, and after some epochs that shows"
        )
    if found.unknown:
        same += f"; {len(found.unknown)} have no published run to be compared with"
    text = f"{len(records)} of the {len(wanted)} runs of `{own_preset}` are in the store. Of them {same}."
else:
    text = f"Nothing has been trained here yet. `make study` trains the {len(wanted)} runs of `{own_preset}`."
display(Markdown(f"**{scale.title}.** {text}"))

# %% [markdown]
# ## Over the published ones
#
# Diamonds are your runs, bars the published 95 % intervals of a mean over seeds: a single run may well lie outside.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Test accuracy of the bottleneck network against the pruning epoch: published means with their 95 % intervals, and your own runs as diamonds.", "name": "fig-own-run"}, "image": {"alt": "Two panels of accuracy against pruning epoch. Each curve with error bars is a pruning ratio of the published runs; open diamonds in its colour are the runs of this store."}}
figures.accuracy_by_epoch(beside, scale.architectures[0], own=runs)

# %% tags=["hide-input"]
pruned = runs[runs["policy"] == "epoch"] if len(runs) else runs
display(
    figures.captioned(
        analysis.by_epoch(pruned, "test_accuracy", digits=1),
        "Your own runs: test accuracy in percent, mean over seeds.",
    )
    if len(pruned)
    else Markdown("*No pruned run of your own.*")
)
