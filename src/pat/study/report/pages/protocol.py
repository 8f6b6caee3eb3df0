"""What was fixed before the deciding runs, and how many of them there are: counted, never looked into."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from pat.files.errors import explain
from pat.files.plain_yaml import read_mapping
from pat.study.claims.claims import CONFIRMATORY
from pat.study.experiments.evidence import Evidence
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Frozen, Spec
from pat.study.store import AnyStore

FILE = "protocol.yaml"
NONE = "The protocol is not fixed yet."


class Protocol(Frozen):
    """The commit that the deciding runs are made from."""

    commit: str
    """Of the source tree in which the protocol's files are as they were fixed."""
    checksum: str
    """Of those files (:func:`~pat.study.store.record.protocol_checksum`); every deciding record has it."""
    profiles: tuple[str, ...]
    """Those whose runs decide."""


def facts(store: AnyStore, book: Path, known: Mapping[str, Evidence] | None = None) -> str:
    """Which commit it is, and how many deciding runs the store has; without a file none.

    Args:
        store: where they are.
        book: folder of the file.
        known: evidence of the confirmatory preset that has been read already, by profile.

    Raises:
        ValueError: if the file is wrong, or a deciding run that carries another checksum is there.
    """
    file = book / FILE
    if not file.is_file():
        return NONE
    try:
        own = Protocol.model_validate(read_mapping(file))
    except ValidationError as error:
        raise ValueError(f"{file}: {explain(error)}") from None
    counts = [
        _made((known or {}).get(name) or Evidence(load_profile(name), CONFIRMATORY, store), own)
        for name in own.profiles
    ]
    return (
        f"Fixed in commit `{own.commit[:12]}`, whose files have the checksum `{own.checksum[:12]}`. Made so "
        f"far, each with that checksum in its record: {' and '.join(counts)}."
    )


def _made(evidence: Evidence, protocol: Protocol) -> str:
    name, found = evidence.profile.name, evidence.records
    other = [record.id for record in found if record.provenance.protocol != protocol.checksum]
    if other:
        raise ValueError(
            f"{len(other)} runs of {name!r} carry another protocol's checksum, the first {other[0]}"
        )
    wanted, sweep = len(evidence.profile.sweep(evidence.sweep_name)), evidence.sweep
    text = f"{len(sweep):,} of {wanted:,} runs of the oracle sweep on `{name}`"
    beside = len(found) - len(sweep)
    text += f" and {beside:,} of the experiments beside it" if beside else ""
    return f"{text} ({_seeds([record.spec for record in found])})" if found else text


def _seeds(specs: Sequence[Spec]) -> str:
    known = sorted({spec.seed for spec in specs})
    return f"seeds {known[0]} to {known[-1]}" if len(known) > 1 else f"seed {known[0]}"
