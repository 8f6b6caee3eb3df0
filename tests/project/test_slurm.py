"""The batch script for SLURM, as far as a machine without it goes."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "slurm-sweep.sh"


def started(**environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PAT_"))}
    return subprocess.run(
        [SCRIPT], env=known | environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PAT_PYTHON": "/nowhere/python"}, "/nowhere/python is no interpreter; name one in PAT_PYTHON"),
        ({"PAT_PYTHON": "/bin/sh"}, "this is a batch script: sbatch tools/slurm-sweep.sh"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], said: str) -> None:
    ended = started(**environment)
    assert ended.returncode != 0
    assert said in ended.stderr
