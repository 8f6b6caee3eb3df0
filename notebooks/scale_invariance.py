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
# # What the gradient criterion sees in MobileNets

# %% tags=["parameters", "remove-input"]
profile = "digits"
store = "runs"  # not read: what this page shows takes seconds
steps = 12
batches = 4

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display

from pat.study import figures
from pat.study.experiments.scale_invariance.finding import finding
from pat.study.experiments.scale_invariance.scores import by_place, layer_scores
from pat.study.plan.profile import load_profile
from pat.study.runs.building import open_data

figures.style()
dataset = open_data(load_profile(profile).spec(seed=0))
networks = ("mobilenetv1-tiny", "mobilenetv2", "mobilenetv3-large")
scores = layer_scores(dataset, networks, steps=steps, batches=batches)
exact = layer_scores(dataset, networks[-1:], steps=steps, batches=batches, epsilon=1e-9)
display(Markdown(f"**Finding.** {finding(scores)}"))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Gradient score of each BatchNorm, mean over its channels and over minibatches, from the image to the classifier, after some minibatches of SGD. Triangles: a depthwise convolution comes next.", "name": "fig-scale-invariance"}, "image": {"alt": "Three panels of dots on a logarithmic axis, one per network. On MobileNetV1 the triangles lie several orders of magnitude below the dots, on MobileNetV2 a little less far, on MobileNetV3 among them."}}
figures.scores_along_networks(scores)
# %% [markdown]
# ## Why
#
# The criterion of a BatchNorm's channel is $|\gamma\,\partial L/\partial\gamma + \beta\,\partial L/\partial\beta|$ (Sec. 3.1,
# below Eq. 3). It is the derivative of the loss when the channel grows, $(\gamma, \beta) \to ((1+\epsilon)\gamma,
# (1+\epsilon)\beta)$. A ReLU hands that growth on, a depthwise convolution too, since it mixes no channels, and the BatchNorm
# behind it divides by the new scale: the network computes what it did before. So the derivative is zero whatever the channel is
# worth, and the score in front of a depthwise convolution is what rounding and BatchNorm's $\epsilon$ leave.
#
# Two things break the symmetry. An activation that treats large values otherwise than small ones: ReLU6, but only where a value
# reaches 6, and a hard swish everywhere between −3 and 3. And a large $\epsilon$: torchvision's MobileNetV3 adds 0.001 to the
# variance where others add 0.00001, and its first blocks have a ReLU, so that with a small $\epsilon$ their scores would vanish
# like MobileNetV1's; the last table row says what
# is left of them then.

# %% tags=["hide-input"]
table = pd.concat(by_place(found, epsilon) for found, epsilon in ((scores, "its own"), (exact, "10⁻⁹")))
display(
    figures.captioned(
        table.style.format(
            {"score": "{:.1e}", "terms": "{:.1e}", "share": "{:.4f}", "smallest share": "{:.4f}"}
        ),
        "Medians over the layers: the score, its two terms by themselves, and the share that is left.",
        index=False,
    )
)

# %% [markdown]
# ## What follows
#
# In a depthwise-separable block the pointwise and the depthwise convolution share their channels, and a coupled channel's score
# sums over both BatchNorms (this study's reading of Sec. 3.1). The first gives nothing, so the ranking of these channels is the
# depthwise BatchNorm's alone; it is not noise. A reading that scores each convolution by its own BatchNorm and prunes by
# the lower one, or that leaves the depthwise layer out, would rank these layers at random and remove them first. The
# paper does not say which it takes.
#
# ## Limits
#
# The networks were trained for a handful of minibatches of digits, scaled to 32 pixels; the cancellation is exact algebra and
# needs no more, the sizes of the other scores do. Nothing was pruned here. This page is an addition of ours and decides no claim.
