"""Ask all questions and write one sealed record: ``python -m benchmarks --out FILE``."""

import argparse
import json
import time
import warnings
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from pat.files.atomic import write_whole
from pat.files.sealed import seal
from pat.study.report.pages.benchmarks import QUESTIONS
from pat.study.store.record import command, provenance


def main() -> None:
    """Print each ratio with its spread; the record grows question by question."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, one round: does it work?")
    parser.add_argument("--out", type=Path, help="file of the record")
    options = parser.parse_args()
    if unknown := sorted({*options.only} - {*QUESTIONS}):
        parser.error(f"unknown question {unknown[0]!r}; known are {', '.join(QUESTIONS)}")
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    start, answers = time.perf_counter(), dict[str, Any]()
    for name in options.only or QUESTIONS:
        module = import_module(f"benchmarks.{name}")
        begin, found = time.perf_counter(), []
        print(module.TITLE, flush=True)
        for answer in module.ask(options.quick):
            found.append(answer.content())
            print(f"  {answer.line()}", flush=True)
        seconds = time.perf_counter() - begin
        answers[name] = {"title": module.TITLE, "seconds": round(seconds, 1), "ratios": found}
        if options.out:
            write(options.out, answers, options.quick, time.perf_counter() - start)


def write(file: Path, answers: dict[str, Any], quick: bool, seconds: float) -> None:
    """What is known so far."""
    where = provenance(seconds=seconds, device="cpu", command=command())
    content = {
        "quick": quick,
        "questions": answers,
        "libraries": {"torch-pruning": metadata.version("torch-pruning")},
        "provenance": where.model_dump(mode="json"),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(seal(content), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
