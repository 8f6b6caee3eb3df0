"""Trains the detectors that the chapter on detection shows, and writes a sealed record of each.

An SSD on drawn scenes: dense, pruned in fixed epochs, and pruned when EPI says so with the thresholds of
classification. Records that are there are not made again, so that a stopped command goes on where it was:
`OMP_NUM_THREADS=1 python tools/detection.py --seeds 0-9 --jobs 2 --out results/measured/detection`.
"""

import argparse
from pathlib import Path

from pat.cli.sweep import seeds_of
from pat.study.experiments.detection.making import make_missing
from pat.study.experiments.detection.planned import SCALES, planned
from pat.study.plan.profile import load_profile


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-9", help="like 0-9 or 0,3,5 (default 0-9)")
    parser.add_argument("--out", type=Path, default=Path("results/measured/detection"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, a core each")
    parser.add_argument("--quick", action="store_true", help="the smoke size, in seconds")
    options = parser.parse_args()
    scale = SCALES["smoke" if options.quick else "small"]
    try:
        seeds = seeds_of(options.seeds)
    except ValueError as error:
        parser.error(str(error))
    runs = planned(scale, load_profile("digits").tau, seeds)
    try:
        made = make_missing(runs, options.out, jobs=options.jobs, report=lambda line: print(line, flush=True))
    except (ValueError, FloatingPointError) as error:
        parser.exit(1, f"detection: {error}\n")
    print(f"{made} trained, {len(runs) - made} were there")


if __name__ == "__main__":
    main()
