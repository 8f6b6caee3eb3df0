"""The notebooks as a command; its options are those of ``python -m pat.study.notebooks``."""

import typer

from pat.cli.options import clear_errors


def notebooks(context: typer.Context) -> None:
    """Execute notebooks of a profile: pat notebooks NAME ... --profile PROFILE; --help lists the options."""
    with clear_errors():
        try:
            from pat.study.report.executing import main
        except ModuleNotFoundError as error:
            raise ValueError(
                f"notebooks need {error.name}: pip install 'pruning-aware-training[book]'"
            ) from None
        raise typer.Exit(main(context.args))
