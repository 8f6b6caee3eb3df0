"""What a machine has of what a sweep needs: versions against the project's ranges, the device, the data."""

import argparse
import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNUSED = {"matplotlib", "seaborn", "plotly"}
"""Of the study's packages those that draw."""


def problems() -> dict[str, str]:
    """What is missing or has another version than `pyproject.toml` allows, by package."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for line in project["dependencies"] + project["optional-dependencies"]["study"]:
        needed = Requirement(line)
        if needed.name in UNUSED:
            continue
        try:
            version = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            found[needed.name] = f"missing, needed: {needed}"
            continue
        if not needed.specifier.contains(version, prereleases=True):
            found[needed.name] = f"{version}, needed: {needed}"
    return found


def device_of(kind: str) -> dict[str, object]:
    """The device's name, memory and versions."""
    import torch

    if kind == "cpu":
        return {"device": "cpu", "torch": torch.__version__}
    if not torch.cuda.is_available():
        sys.exit("no CUDA device is available")
    about = torch.cuda.get_device_properties(0)
    return {
        "device": about.name,
        "gibibytes": round(about.total_memory / 2**30, 1),
        "multiprocessors": about.multi_processor_count,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, help="unpack and decode a profile's images there")
    parser.add_argument("--profile")
    chosen = parser.parse_args()
    if chosen.data is not None:
        from pat.study.plan.profile import load_profile
        from pat.training.data import load_manifest, open_dataset, unpack

        manifest = load_manifest(load_profile(chosen.profile).dataset)
        if manifest.archives and not manifest.location(chosen.data).exists():
            unpack(manifest, chosen.data)
        opened = open_dataset(manifest, root=chosen.data, device="cpu")
        print(f"{manifest.name}: {opened.split_size('train')} training images of {opened.image_size} pixels")
        return
    found = problems()
    for name, problem in found.items():
        print(f"{name}: {problem}")
    if found:
        sys.exit(f"carry them as wheels: tools/gpu-wheels.sh {' '.join(found)}")
    about = device_of(chosen.device)
    print(about)
    chosen.out.write_text(json.dumps(about, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
