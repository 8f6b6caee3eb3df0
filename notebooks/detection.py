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
# # Is the threshold from classification good for a detector?

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"
scale = "small"
seeds = [0]
train = False
jobs = 1

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display

from pat.study import figures, wording
from pat.study.experiments.detection import records, summaries
from pat.study.experiments.detection.finding import finding
from pat.study.experiments.detection.making import make_missing
from pat.study.experiments.detection.planned import SCALES, planned
from pat.study.plan.profile import load_profile
from pat.study.store import open_store

figures.style()
size, tau, root = SCALES[scale], load_profile(profile).tau, open_store(store).root
if train:
    make_missing(planned(size, tau, seeds), records.folder(root), jobs=jobs)
found = records.read_all(root, size)
runs = summaries.detector_runs(found)


def shown(table: pd.DataFrame, caption: str, index: bool = False) -> None:
    display(figures.captioned(table, caption, index=index))


# %% tags=["remove-input"]
display(Markdown(f"**Finding.** {finding(found)}"))

# %% [markdown]
# **This chapter is exploratory.** It is far from the paper's scale, was no part of what was fixed before the runs, and no
# verdict uses it.
#
# ## Question and method
#
# **Question.** The paper says of its threshold: "We tuned this value for ResNet50, however, we will show its generalizability
# by performing tests on ResNet34, MobileNetV1 in the main text and SSD in the Appendix" (Sec. 4.2). Does a threshold that was
# tuned on classification find a good moment in the training of a detector?
#
# **Method.** torchvision's SSD {cite:p}`liu2016ssd`: its default boxes, head and loss, on the first three stages of a ResNet, whose
# third stage keeps the resolution of the second, and on extra layers for coarser maps. `pat.attach` hooks pruning onto
# the optimizer, with the extra layers and the head in `exclude`, so that channels go from the backbone alone. Images are drawn on
# the spot: digits of several sizes among pieces of others, each with a box and a class. No source digit serves two splits.
# Precision is COCO's mAP {cite:p}`lin2014coco`, over intersections over union from 0.5 to 0.95, in percent. A second network of the same construction,
# SSD300 with torchvision's ResNet50, is pruned in the tests, and Pascal VOC can be read; neither is trained here.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first scenes of the training split, with boxes and classes.", "name": "fig-detection-scenes"}, "image": {"alt": "Six dark square images with one to three bright blocky digits each, some of them stretched, among fragments of digits; a box with a class lies around every digit."}}
figures.detector_scenes(size.drawing)

# %% tags=["hide-input"]
recipe = size.recipe
display(
    Markdown(
        f"**Scale.** {size.title}, each a {recipe.slices}th of a pass over {size.scenes['train']} scenes; "
        f"{size.scenes['validation']} scenes for validation and {size.scenes['test']} for test; {wording.percent(size.ratio)} of the "
        f"backbone's filters go; {wording.many(runs['seed'].nunique(), 'seed')}. Thresholds: "
        f"{', '.join(f'{name} {tau[name]:g}' for name in size.criteria)}; where EPI has not triggered before, it prunes in "
        f"epoch {size.fallback}."
    )
)

# %% [markdown]
# ## When, and at what precision

# %% tags=["hide-input"] mystnb={"figure": {"caption": "mAP on the test scenes by pruning epoch: means over the seeds with 95 % intervals (Student's t). Diamonds: EPI at its mean epoch, dots its seeds. Dashed: dense.", "name": "fig-detection-precision"}, "image": {"alt": "A panel for each criterion: mean average precision over the pruning epoch, joined circles for fixed epochs, a diamond for EPI, a dashed line for the dense detector."}}
if found:
    display(figures.detector_precision_by_epoch(runs))

# %% tags=["hide-input"]
if found:
    shown(
        summaries.detector_precision(runs),
        "Precision on test, in percent: mean over the seeds [95 % interval]; what is lost against the dense detector of the same "
        "seed, in points; multiply-accumulates left of the whole detector. The best fixed epoch is each seed's best on validation.",
    )

# %% tags=["hide-input"]
if found:
    shown(
        summaries.detector_differences_table(runs),
        "EPI minus a fixed epoch, and minus the best of them on validation: points of mAP on test, paired by seed [95 % interval, "
        "uncorrected]; negative where EPI loses.",
        index=True,
    )

# %% [markdown]
# ## When EPI triggers

# %% tags=["hide-input"] mystnb={"figure": {"caption": "EPI over the epochs of the dense detectors, a line a seed. Dashed: the threshold from classification.", "name": "fig-detection-indicator"}, "image": {"alt": "A panel for each criterion with a line for every seed that rises within the first epochs and then stays level, and a dashed horizontal line at the threshold."}}
if found:
    display(figures.detector_indicator(summaries.detector_indicator_values(found), tau))

# %% tags=["hide-input"]
if found:
    shown(
        summaries.detector_triggers(found),
        "Runs in which EPI triggers before its fall-back epoch; their mean pruning epoch (lowest to highest); the highest threshold "
        "that would have pruned by then, from the dense runs, mean (lowest to highest).",
    )

# %% [markdown]
# ## Through the removal
#
# A detector is measured right before the epoch of Algorithm 1, right after its channels are removed, and when the training ends.

# %% tags=["hide-input"]
if found:
    shown(
        summaries.detector_removal(runs),
        "Precision on validation, in percent: mean over the seeds ± half the 95 % interval.",
    )

# %% [markdown]
# ## Limits
#
# It shows that a detector trains, is pruned in training and goes on, and whether thresholds from classification trigger in its
# training at all. It does not show the paper's SSD: backbone, images, classes and schedule are all smaller, the fixed epochs
# are few, so that the best of them is no oracle, and they were chosen with the schedule before any of these runs; clutter and
# schedule were chosen on the dense precision of one seed, which is among those shown. An epoch here has few steps, so that
# EPI's structures move more from one to the next than they would over an epoch of VOC.

# %% tags=["hide-input"]
seconds = runs["seconds"].sum()
display(
    Markdown(
        f"**Cost.** {len(found)} trainings, {seconds / 60:.0f} minutes of one core; `python tools/detection.py` makes those that are "
        "missing."
    )
)
