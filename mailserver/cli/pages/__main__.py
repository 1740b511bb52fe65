"""``python -m mailserver.cli.pages etc/man`` writes the manual pages, after changes of commands or keys."""

from pathlib import Path

import click

from mailserver.cli.main import cli
from mailserver.cli.pages.commands import command_page
from mailserver.cli.pages.keys import configuration_page


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def write(folder: Path) -> None:
    """Write mailserver.8 and mailserver.toml.5 to FOLDER."""
    (folder / "mailserver.8").write_text(command_page(cli))
    (folder / "mailserver.toml.5").write_text(configuration_page())


if __name__ == "__main__":
    write()
