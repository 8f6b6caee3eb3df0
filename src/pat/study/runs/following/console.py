"""The terminal: texts of records and profiles are shown, never obeyed."""

from typing import Any

from rich import console
from rich.text import Text

from pat.files.plain import printable


class Console(console.Console):
    """rich's, for texts that somebody else may have written.

    Brackets are no markup in them (and no error if they would be wrong as such), and characters that steer a
    terminal are shown as escapes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
