"""The `cap-train` command."""

from __future__ import annotations

import os

import typer

from cap_training.commands.deepen import deepen_
from cap_training.commands.evaluate import evaluate_
from cap_training.commands.extrapolate import extrapolate_
from cap_training.commands.mine import mine_
from cap_training.commands.prefer import prefer_
from cap_training.commands.run import run_
from cap_training.commands.sft import sft_
from cap_training.data.cli import data_cli

cli = typer.Typer(
    help="Train a CaP model: data, fine-tuning, preference optimisation, evaluation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.add_typer(data_cli, name="data")
cli.command("run")(run_)
cli.command("sft")(sft_)
cli.command("mine")(mine_)
cli.command("prefer")(prefer_)
cli.command("evaluate")(evaluate_)
cli.command("extrapolate")(extrapolate_)
cli.command("deepen")(deepen_)


def main() -> None:
    """Run the command line."""
    # Threads that wait busily take the cores from whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    cli()
