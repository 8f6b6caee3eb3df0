"""The command line: ``pat``. Thin: it reads arguments, calls the study, and prints."""

import typer

from pat.cli import measure, notebooks, plan, scales, stores, sweep, train

app = typer.Typer(
    name="pat",
    help="Prune networks early in their training, and study when to do it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, check, add your own.")
results_app = typer.Typer(no_args_is_help=True, help="Records of finished runs: list them, publish them.")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")

app.command()(train.run)
app.command()(sweep.sweep)
app.command()(train.verify)
app.command()(plan.plan)
app.command()(stores.status)
app.command()(stores.show)
app.command()(stores.merge)
app.command()(stores.gc)
app.command()(scales.profiles)
app.command()(measure.latency)
app.command()(measure.speed)
app.command()(measure.throughput)
app.command(
    add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)(notebooks.notebooks)
results_app.command()(stores.table)
results_app.command()(stores.publish)
results_app.command()(stores.compare)
data_app.command("list")(scales.data_list)
data_app.command("verify")(scales.data_verify)
data_app.command("unpack")(scales.data_unpack)
data_app.command("add")(scales.data_add)


def main() -> None:
    """Entry point of the ``pat`` script."""
    app()
