"""All comparisons, by name."""

from pat.study.experiments.comparisons.along_the_way import ALONG_THE_WAY
from pat.study.experiments.comparisons.at_initialisation import AT_INITIALISATION
from pat.study.experiments.comparisons.comparison import Comparison
from pat.study.experiments.comparisons.networks import OTHER_NETWORKS
from pat.study.experiments.comparisons.recipes import OTHER_RECIPES

COMPARISONS: dict[str, Comparison] = {
    own.name: own for own in (AT_INITIALISATION, ALONG_THE_WAY, OTHER_NETWORKS, OTHER_RECIPES)
}
