"""Sphinx configuration: Markdown by MyST, the API from the installed package, the commands from their own parser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import kstore

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "kstore"
author = "The kstore developers"
copyright = "2026, the kstore developers"
version = release = kstore.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_reference", "config_reference"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_numpy_docstring = True

html_theme = "furo"
html_title = "kstore"
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"


def lift_paragraphs(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Move what follows a parameter list in front of it: docstrings here end with what is raised, and the reader of
    numpy's convention takes everything behind `Parameters` for parameters."""
    if "Parameters" not in lines:
        return
    start = lines.index("Parameters")
    lifted: list[str] = []
    kept: list[str] = lines[start : start + 2]
    for block in "\n".join(lines[start + 2 :]).split("\n\n"):
        rows = block.split("\n")
        is_parameter = (len(rows) > 1 and rows[1].startswith(" ")) or rows[0].startswith(" ")
        (kept if is_parameter else lifted).extend([*rows, ""])
    lines[start:] = [*lifted, *kept]


def setup(app: Any) -> None:
    """Called by Sphinx; runs before napoleon, which connects at the default priority."""
    app.connect("autodoc-process-docstring", lift_paragraphs, priority=400)
