"""The command `overlane doctor`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from overlane.terminal import print_json


def doctor(
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration of a node or a brain; left out: the host alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check host and configuration, and say for each thing that is wrong how to mend it.

    Changes nothing. Exit code 1 if there is a problem; warnings are none.
    """
    from overlane.doctor import view
    from overlane.doctor.check import Verdict
    from overlane.doctor.examination import examine

    examination = examine(config)
    if as_json:
        print_json(view.as_json(examination))
    else:
        console = Console(markup=False, emoji=False, highlight=False)
        console.print(view.ExaminationView(examination), soft_wrap=True)
    if examination.count(Verdict.PROBLEM):
        raise typer.Exit(1)
