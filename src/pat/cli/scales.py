"""Commands on profiles and data sets."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from pat.cli.options import AS_PATH, FOLDER, DataFolder, clear_errors
from pat.files import paths
from pat.study.runs.following.console import Console


def profiles() -> None:
    """The scales that the study knows."""
    from pat.study.plan.profile import list_profiles, load_profile

    with clear_errors():
        names = [Column(name, no_wrap=True) for name in ("profile", "data set", "networks")]
        table = Table(*names, "machine")
        for name in list_profiles():
            found = load_profile(name)
            table.add_row(name, found.dataset, "\n".join(found.architectures), found.machine)
        Console().print(table)


def data_list() -> None:
    """The data sets that have a manifest."""
    from pat.training.data import list_manifests, load_manifest

    with clear_errors():
        table = Table(
            Column("data set", no_wrap=True), "title", "train", "validation", "test", "classes", "pixels"
        )
        for name in list_manifests():
            found = load_manifest(name)
            counts = [str(found.splits[split].count) for split in ("train", "validation", "test")]
            table.add_row(name, found.title, *counts, str(found.num_classes), str(found.image_size))
        Console().print(table)


def data_verify(
    name: Annotated[str, typer.Argument(help="Name of a data set, or its manifest's path.")],
    data: DataFolder = paths.DATA,
) -> None:
    """Check a data set's counts and checksums, and say which file is wrong."""
    from pat.training.data import load_manifest, verify

    with clear_errors():
        problems = verify(load_manifest(name), data)
        for problem in problems:
            typer.echo(f"{problem.path}: {problem.message}", err=True)
        if problems:
            raise ValueError(f"{name}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        typer.echo(f"{name}: all files are as the manifest says")


def data_unpack(
    name: Annotated[str, typer.Argument(help="Name of a data set, or its manifest's path.")],
    data: DataFolder = paths.DATA,
) -> None:
    """Unpack a data set's archive, which lies in the data folder, after a look at its checksum.

    Archives with links, with paths that lead elsewhere, or far too large are refused.
    """
    from pat.training.data import load_manifest, unpack

    with clear_errors():
        typer.echo(f"{unpack(load_manifest(name), data)} made; check it with: pat data verify {name}")


def data_add(
    folder: Annotated[
        Path, typer.Argument(help="Folder with train/ and val/ or test/, or of classes.", **AS_PATH)
    ],
    name: Annotated[str | None, typer.Option(help="Name of the data set; the folder's by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write the manifest to.", **FOLDER)] = Path(
        "data_manifests"
    ),
    image_size: Annotated[int | None, typer.Option(help="Pixels that the network sees.")] = None,
) -> None:
    """Write a manifest for a folder of images in ImageFolder layout."""
    from pat.training.data import add_folder

    with clear_errors():
        written = add_folder(folder, name or folder.resolve().name.lower(), out, image_size=image_size)
        typer.echo(
            f"{written} written; name it as the dataset of a profile, "
            f"and train with --data {folder.resolve().parent}"
        )
