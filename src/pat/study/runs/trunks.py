"""Trunks: the dense runs that pruned runs start from, each shared by all of its branches."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pat.study.plan.spec import Spec
from pat.study.store import Store


@dataclass
class Trunk:
    """A dense run and what hangs on it.

    Attributes:
        spec: the dense run.
        wanted: whether its own record was asked for.
        branches: pruned runs that start from its checkpoints.
    """

    spec: Spec
    wanted: bool = False
    branches: list[Spec] = field(default_factory=list)

    def keep(self, store: Store) -> list[int]:
        """Checkpoints that unfinished branches will start from."""
        waiting = [b for b in self.branches if store.record(b) is None and not store.checkpoints(b)]
        return sorted({epochs for branch in waiting for epochs in branch.needs})


def plan(specs: Iterable[Spec]) -> list[Trunk]:
    """Group runs by the dense run they share."""
    trunks: dict[str, Trunk] = {}
    for spec in dict.fromkeys(specs):
        trunk = trunks.setdefault(spec.trunk.id, Trunk(spec.trunk))
        if spec == spec.trunk:
            trunk.wanted = True
        else:
            trunk.branches.append(spec)
    return list(trunks.values())
