"""Options of the test run."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pat.study.runs import workers

workers.PRELOADED += (
    "PIL.Image",
    "pat.study.store.publishing",
    "sklearn.datasets",
)  # one server for all tests
settings.register_profile("pat", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("pat")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("book")
    group.addoption("--book", type=Path, help="folder of the built book's HTML, for a browser")
    group.addoption("--shots", type=Path, help="folder for screenshots of the book's pages")
    faults = parser.getgroup("faults")
    faults.addoption("--faults", choices=("short", "long"), default="short", help="size of the fault bench")
    faults.addoption("--faults-record", type=Path, help="file for the fault bench's record")


@pytest.fixture
def listening() -> Iterator[None]:
    """This process hears an interrupt, which what a shell starts in its background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
