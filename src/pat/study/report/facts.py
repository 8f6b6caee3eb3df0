"""Facts: all that the book's pages quote, from records into ``book/_generated/``."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pat.files import paths
from pat.files.atomic import write_whole
from pat.study.claims.claims import CONFIRMATORY, Claims, load_claims
from pat.study.claims.verdicts import Study, count, decide
from pat.study.experiments.evidence import Evidence
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Profile, load_profile
from pat.study.report import supply
from pat.study.report.pages import (
    benchmarks,
    cards,
    deciding,
    discussion,
    front,
    gpu,
    networks,
    practice,
    protocol,
    provenance,
    splits,
    verdicts,
)
from pat.study.store import AnyStore, bench, open_store
from pat.study.store.record import DamagedRecord, claims_checksum
from pat.study.wording import many

OUTPUT = Path("_generated") / "results.json"
"""What substitutions quote, below the book's folder."""

EVIDENCE = Path("_generated") / "evidence.md"
"""The records behind every number, included by the page of evidence."""

FIGURE = Path("_generated") / "front.svg"
"""The main result, on the front page."""

EXPLORATORY = "study"
"""The preset whose seeds had been seen when the rules were written."""


def gather(profile: Profile, store: AnyStore, claims: Claims, preset: str | None = None) -> Study:
    """A profile's runs and verdicts: of the preset, or of the confirmatory one, or else the exploratory one.

    Raises:
        ValueError: for an unknown preset, or if the store has no run of it.
    """
    known = {*profile.sweeps, *profile.experiments}
    wanted = [preset] if preset else [name for name in (CONFIRMATORY, EXPLORATORY) if name in known]
    for name in wanted:
        evidence = Evidence(profile, name, store)
        if evidence.records:
            return Study(evidence, decide(claims, evidence))
    presets = " or ".join(wanted) or "any"
    raise ValueError(f"no run of profile {profile.name!r}, preset {presets}, in {store.root}")


def facts(
    studies: Sequence[Study], claims: Claims, book: Path = paths.BOOK, before: Sequence[Study] = ()
) -> dict[str, Any]:
    """What the pages quote.

    Args:
        studies: of each profile, the book's main one first.
        claims: what they decided.
        book: its folder; chapters are linked as far as its table of contents has them.
        before: of an earlier round, decided by that round's claims.

    Returns:
        Texts in Markdown (``summary``, ``lead``, ``abstract``, ``forest``, ``scale``, ``verdicts``,
        ``decided``, ``checksums``, ``hours``) and rows of tables (``outcomes``, ``cost``, ``runs``,
        ``environment``, and of the installed dependencies ``licences`` and
        ``licences_indirect``); ``faults`` has the fault bench's and ``gpu`` what ran on one, ``networks``
        which are pruned exactly, ``protocol`` what was fixed before the runs, ``first_round`` what an earlier
        one came to, ``splits`` how far the images of a split vary a comparison,
        ``benchmarks`` ratios of speed; ``discussion`` and ``practice`` are those of the pages of that name.
    """
    return {
        "summary": "\n\n".join([NOT_THE_PAPERS, *map(_summary, studies)]),
        "lead": "\n\n".join([NOT_THE_PAPERS, *(_lead(study) for study in studies)]),
        "abstract": f"{NOT_THE_PAPERS}\n\n{front.abstract(studies)}",
        "forest": front.forest(studies),
        "scale": _scale(studies),
        "verdicts": _verdicts(studies, claims, book),
        "decided": deciding.told(claims, studies),
        "checksums": _checksums(studies, claims_checksum(book, studies[0].profile.claims)),
        "outcomes": _outcomes(studies),
        "first_round": "\n".join(f"- {_summary(study)}" for study in before) or "Nothing.",
        "hours": provenance.hours(studies),
        "cost": provenance.cost(studies),
        "runs": provenance.runs(studies),
        "environment": provenance.environments(studies),
        "faults": bench.facts(_bench(studies[0].evidence.store)),
        "gpu": gpu.facts(studies[0].evidence.store),
        "splits": splits.facts(studies[0].evidence.store),
        "networks": networks.facts(studies[0].evidence.store),
        "protocol": protocol.facts(
            studies[0].evidence.store,
            book,
            {s.profile.name: s.evidence for s in studies if s.evidence.preset == CONFIRMATORY},
        ),
        "benchmarks": benchmarks.facts(studies[0].evidence.store),
        "discussion": discussion.facts(studies, book),
        "practice": practice.facts(studies),
        "licences": supply.licences(),
        "licences_indirect": supply.indirect(),
    }


NOT_THE_PAPERS = (
    "The paper trained ResNet34, ResNet50 and MobileNetV1 on ImageNet for 90 epochs. **No number measured "
    "here is the paper's, or comparable with it in size;** signs and shapes are what can be compared."
)


def _summary(study: Study) -> str:
    """A profile's scale and how many claims held at it."""
    text = f"**{study.profile.title}** ({_size(study)}). {verdicts.counted(study.verdicts)}"
    if study.evidence.preset == CONFIRMATORY:
        return text
    return text + (
        f" These runs, preset `{study.evidence.preset}`, are exploratory: their seeds had been seen when the "
        "rules were written, so that they confirm nothing."
    )


def _lead(study: Study) -> str:
    return "\n\n".join(filter(None, [_summary(study), cards.lead(study), _window(study)]))


def _window(study: Study) -> str:
    """When EPI can act at all in a schedule of this length, where that is late."""
    profile, epochs = study.profile, study.profile.recipe.epochs
    first, third = profile.tracking.look_back + profile.patience + 1, epochs // 3
    if first <= third:
        return ""
    return (
        f"With its look-back and patience EPI can prune in epoch {first} of {epochs} at the earliest, after "
        f"the pre-defined epoch {third}; in the paper's longer schedule it is well before. Where claims "
        f"compare the two, or costs, EPI is at that disadvantage here."
    )


def _size(study: Study) -> str:
    n, runs = verdicts.seeds(study), len(study.evidence.records)
    return f"{study.profile.recipe.epochs} epochs, {many(n, 'seed')}, {many(runs, 'run')}"


def _scale(studies: Sequence[Study]) -> str:
    texts = []
    for study in studies:
        profile, originals = study.profile, ("ResNet50", "ResNet34", "MobileNetV1")
        pairs = zip(profile.architectures, originals, strict=False)
        networks = ", ".join(f"{own} for {original}" for own, original in pairs)
        texts.append(f"- **{profile.name}**: {profile.title}; {networks}; {_size(study)}. {profile.purpose}")
    return "\n".join(texts)


def _verdicts(studies: Sequence[Study], claims: Claims, book: Path) -> str:
    paper, texts = Paper.read(book), []
    for study in studies:
        name, main = study.profile.name, study is studies[0]
        rest = "" if main else " Claims without runs at this scale are left out."
        texts.append(f"**{study.profile.title}**, {_size(study)}.{rest}")
        texts.append(verdicts.table(study, claims, paper, _chapters(book, name), all_claims=main))
    return "\n\n".join(texts)


def _chapters(book: Path, profile: str) -> verdicts.Link:
    """Links to the chapters that the table of contents has."""
    contents = book / "_toc.yml"
    known = contents.read_text(encoding="utf-8").split() if contents.is_file() else []

    def link(name: str) -> str:
        title, page = name.replace("_", " ").capitalize(), f"executed/{profile}/{name}"
        return f"[{title}]({page}.ipynb)" if page in known else title

    return link


def _checksums(studies: Sequence[Study], present: str | None) -> str:
    """How many records can show that the rules came first."""
    found = Counter(r.provenance.claims for study in studies for r in study.evidence.records)
    total, same, none = found.total(), found[present] if present else 0, found[None]
    text = (
        f"Of {many(total, 'run')} that claims are decided from, {same} carry the checksum of the claims "
        "file as it stands: its rules were there before they were trained."
    )
    if same < total:
        text += f" {none} carry none and {total - same - none} another version's; those are exploratory."
    return text


def _outcomes(studies: Sequence[Study]) -> list[dict[str, str]]:
    return [
        {
            "Scale": s.profile.name,
            **{verdicts.word(name).capitalize(): str(n) for name, n in count(s.verdicts).items()},
        }
        for s in studies
    ]


def _if_any(profile: Profile, store: AnyStore, claims: Claims, preset: str | None = None) -> Study | None:
    """:func:`gather`, if the store has runs of the profile."""
    try:
        return gather(profile, store, claims, preset)
    except DamagedRecord:
        raise  # not the same as a profile without runs
    except ValueError as error:
        print(f"facts: {error}; left out", file=sys.stderr)
        return None


def _bench(store: AnyStore) -> bench.Bench | None:
    try:
        return bench.read_bench(bench.bench_file(store.root))
    except FileNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the book's facts: ``python -m pat.study.report.facts --profile digits --store runs``."""
    parser = argparse.ArgumentParser(prog="python -m pat.study.report.facts", description=main.__doc__)
    parser.add_argument(
        "--profile", nargs="+", default=["digits"], help="whose runs, the book's main profile first"
    )
    parser.add_argument(
        "--preset", help=f"which runs of them (default: {CONFIRMATORY} or, without any, {EXPLORATORY})"
    )
    parser.add_argument(
        "--before", nargs="*", default=[], help="profiles of an earlier round, told in a sentence each"
    )
    parser.add_argument("--store", default=str(paths.STORE), help="folder of the runs")
    parser.add_argument("--book", type=paths.argument, default=paths.BOOK, help="folder of the book")
    options = parser.parse_args(arguments)
    try:
        store = open_store(options.store)
        first, *others = [load_profile(name) for name in dict.fromkeys(options.profile)]
        claims = load_claims(options.book, name=first.claims)
        beside = [_if_any(profile, store, claims, options.preset) for profile in others]
        studies = [gather(first, store, claims, options.preset), *filter(None, beside)]
        earlier = map(load_profile, options.before)
        before = [
            _if_any(profile, store, load_claims(options.book, name=profile.claims)) for profile in earlier
        ]
        content = facts(studies, claims, options.book, [*filter(None, before)])
        evidence = "\n".join(verdicts.evidence_page(study, claims, options.book) for study in studies)
    except ValueError as error:
        print(f"facts: {error}", file=sys.stderr)
        return 2
    write_whole(options.book / OUTPUT, (json.dumps(content, indent=1) + "\n").encode())
    write_whole(options.book / EVIDENCE, evidence.encode())
    write_whole(options.book / FIGURE, front.figure(studies[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
