"""The directive `config-keys`: the table of configuration keys, written from the classes that read them."""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kstore import config
from kstore.config.keys import Setting


class ConfigKeys(SphinxDirective):
    """`.. config-keys:: TopicConfig` writes one row a key: its default and what it does."""

    required_arguments = 1
    classes: ClassVar[dict[str, Any]] = {
        "TopicConfig": config.TopicConfig,
        "StoreConfig": config.StoreConfig,
        "BrokerConfig": config.BrokerConfig,
    }

    def run(self) -> list[nodes.Node]:
        keys: dict[str, Setting] = self.classes[self.arguments[0]].keys()
        rows = [(key, _shown(field.default), field.doc) for key, field in keys.items()]
        return [_table(("key", "default", "meaning"), (30, 22, 48), rows)]


class ConfigSynonyms(SphinxDirective):
    """`.. config-synonyms::` lists the broker keys that are defaults of topic keys."""

    def run(self) -> list[nodes.Node]:
        return [_table(("broker key", "topic key"), (50, 50), list(config.BROKER_SYNONYMS.items()))]


def _shown(value: Any) -> str:
    return "not set" if value is None else config.render(value) or "empty"


def _table(head: tuple[str, ...], widths: tuple[int, ...], rows: list[tuple[str, ...]]) -> nodes.Node:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", _row(head, literal=False))
    group += nodes.tbody("", *[_row(row) for row in rows])
    return nodes.table("", group)


def _row(cells: tuple[str, ...], *, literal: bool = True) -> nodes.row:
    row = nodes.row()
    for number, cell in enumerate(cells):
        kind = nodes.literal if literal and number < 2 else nodes.inline
        row += nodes.entry("", nodes.paragraph("", "", kind(text=cell)))
    return row


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("config-keys", ConfigKeys)
    app.add_directive("config-synonyms", ConfigSynonyms)
    return {"parallel_read_safe": True}
