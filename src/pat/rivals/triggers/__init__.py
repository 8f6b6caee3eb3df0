"""When others would prune: their rules as policies, on the scores, masks and losses of this training.

Each is a policy of :data:`pat.policy.POLICIES` and fires once its signal reaches a threshold; the run is
pruned in the epoch after. Only the moment is theirs: what is scored, ranked and removed stays as everywhere
else.
"""

from pat.rivals.triggers.early_bert import EarlyBERT
from pat.rivals.triggers.early_bird import EarlyBird
from pat.rivals.triggers.kendall import Kendall
from pat.rivals.triggers.loss_plateau import LossPlateau
from pat.rivals.triggers.ocspruner import OCSPruner
from pat.rivals.triggers.share import ShareOfSchedule
from pat.rivals.triggers.spearman import Spearman

__all__ = ["EarlyBERT", "EarlyBird", "Kendall", "LossPlateau", "OCSPruner", "ShareOfSchedule", "Spearman"]
