"""Several ranks that train one model: they decide from one set of scores, at the same moment."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Ranks:
    """The ranks of a model that is trained in ``DistributedDataParallel``; one alone without it.

    Args:
        wrapped: the wrapper, if there is one.
    """

    def __init__(self, wrapped: DistributedDataParallel | None) -> None:
        self._wrapped = wrapped
        self._group: ProcessGroup | None = None if wrapped is None else wrapped.process_group

    def mean(self, scores: Mapping[str, Tensor], moment: Mapping[str, int]) -> dict[str, Tensor]:
        """Scores ``[size]`` by group as a mean over ranks, the same on each, bit for bit.

        Every rank has to call this at the same moment of its training.

        Args:
            scores: this rank's, on the CPU.
            moment: what tells it, by name.

        Raises:
            RuntimeError: if the ranks are not at the same moment, on all of them.
        """
        if self._wrapped is None:
            return dict(scores)
        self.agree(moment)
        flat = torch.cat([score.flatten() for score in scores.values()]).to(self._device)
        torch.distributed.all_reduce(flat, group=self._group)
        flat = (flat / torch.distributed.get_world_size(self._group)).cpu()
        parts = torch.split(flat, [score.numel() for score in scores.values()])
        return dict(zip(scores, parts, strict=True))

    def agree(self, numbers: Mapping[str, int]) -> None:
        """Make sure that all ranks have the same numbers.

        Raises:
            RuntimeError: if they do not, on all of them.
        """
        if self._wrapped is None:
            return
        mine = torch.tensor(list(numbers.values()), dtype=torch.long, device=self._device)
        each = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size(self._group))]
        torch.distributed.all_gather(each, mine, group=self._group)
        found = [tuple(rank.tolist()) for rank in each]
        if len(set(found)) > 1:
            raise RuntimeError(
                f"the ranks do not agree on ({', '.join(numbers)}): {found}. Each takes as many optimizer "
                "steps per epoch as the others, with equal settings and policy"
            )

    @property
    def _device(self) -> torch.device:
        assert self._wrapped is not None
        return next(self._wrapped.parameters()).device
