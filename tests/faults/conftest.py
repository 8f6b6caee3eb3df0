"""The bench: every test counts what it did to the study, and a run of the whole bench leaves a record.

``make test-faults`` runs it long and writes the record that the book quotes; ``make test`` runs it short.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest

from pat.study.store.bench import Bench, Group, Row, source, write_bench
from pat.study.store.record import provenance


@dataclass
class Tally:
    """What one test did, by part and fault.

    Attributes:
        long: whether the bench runs long.
        counts: tried and survived.
    """

    long: bool
    counts: dict[tuple[Group, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def pick(self, short: int, long: int) -> int:
        """How many trials this run of the bench makes."""
        return long if self.long else short

    @contextmanager
    def trial(self, group: Group, fault: str) -> Iterator[None]:
        """One fault; survived if the block ends without an error."""
        assert group in get_args(Group), group
        self.counts[group, fault][0] += 1
        yield
        self.counts[group, fault][1] += 1


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the faults of this test; their sum over all tests is the bench's record."""
    tally = Tally(request.config.getoption("--faults") == "long")
    yield tally
    for (group, fault), (tried, survived) in tally.counts.items():
        request.node.user_properties.append(("fault", (group, fault, tried, survived)))


class Recorder:
    """Gathers what the tests counted, from all worker processes, and writes it at the end."""

    def __init__(self, file: Path, mode: str) -> None:
        self.file, self.mode = file, mode
        self.begin, self.source = time.time(), source()
        self.counts: dict[tuple[Group, str], list[int]] = defaultdict(lambda: [0, 0])
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and "tests/faults/" in report.nodeid:
            name = report.nodeid.rpartition("::")[2]
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skipped.append(f"{name}: {reason}")
        if report.when != "teardown":
            return
        for key, value in report.user_properties:
            if key == "fault":
                group, fault, tried, survived = value
                count = self.counts[group, fault]
                count[0] += tried
                count[1] += survived

    def pytest_sessionfinish(self) -> None:
        if not self.counts:
            return
        order = list(get_args(Group))
        rows = [
            Row(group=group, fault=fault, tried=tried, survived=survived)
            for (group, fault), (tried, survived) in sorted(
                self.counts.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
            )
        ]
        seconds = time.time() - self.begin
        made = provenance(seconds=seconds, device="cpu", command="make test-faults")
        mode: Any = self.mode
        bench = Bench(
            mode=mode, rows=tuple(rows), skipped=tuple(self.skipped), source=self.source, provenance=made
        )
        write_bench(self.file, bench)


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--faults-record")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(file, config.getoption("--faults")), "faults-recorder")
