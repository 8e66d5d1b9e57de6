"""What group coordinators are told of a broker's configuration. Called by `coordination`."""

from __future__ import annotations

import dataclasses

from kstore.config import BrokerConfig
from kstore.groups.settings import GroupSettings


def settings_of(config: BrokerConfig) -> GroupSettings:
    """Every setting that has a key of the same name in the broker's configuration; the others keep their default."""
    known = {setting.name for setting in config.keys().values()}
    return GroupSettings(
        **{
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(GroupSettings)
            if field.name in known
        }
    )
