"""`values.replace` against `dataclasses.replace`, over every value that the machines use and some that they do not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from kstore.replication import events, leading, progress, state
from kstore.replication.follower import Follower
from kstore.replication.values import replace

ASSIGNMENT = state.Assignment(1, 4, 7, (1, 2, 3), (1, 2))
LOCAL = state.Local(2, 9, 8, 5)
VALUES = [
    ASSIGNMENT,
    LOCAL,
    progress.Progress(2),
    leading.Leader(1, 11, state.Rules(), ASSIGNMENT, LOCAL, ((1, 11),), 3),
    Follower(1, 11, state.Rules(), ASSIGNMENT, LOCAL),
    events.FetchRequest(2, 12, 5, 4, 9, 3, 0),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_equals_what_the_library_makes(value: object) -> None:
    assert dataclasses.is_dataclass(value)
    assert not isinstance(value, type)
    fields = [one.name for one in dataclasses.fields(value)]
    for name in fields:
        copy = replace(value, **{name: "other"})
        assert copy == dataclasses.replace(value, **{name: "other"})
        assert copy is not value
        assert type(copy) is type(value)
    changes = dict.fromkeys(fields, 7)
    assert replace(value, **changes) == dataclasses.replace(value, **changes)
    assert replace(value) == value


def test_a_copy_is_as_frozen_as_its_original() -> None:
    copy = replace(LOCAL, high_watermark=6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.high_watermark = 7  # type: ignore[misc]
    assert hash(copy) == hash(dataclasses.replace(LOCAL, high_watermark=6))
    assert LOCAL.high_watermark == 5


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="high_water"):
        replace(LOCAL, high_water=6)  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class Checked:
    """Has a check of its own."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("negative")


@dataclass(frozen=True)
class Open:
    """Has no slots."""

    count: int
    derived: int = field(init=False, default=3)


def test_classes_of_other_kinds_are_copied_as_ever() -> None:
    assert replace(Checked(1), count=2) == Checked(2)
    with pytest.raises(ValueError, match="negative"):
        replace(Checked(1), count=-1)
    assert replace(Open(1), count=2) == Open(2)
    with pytest.raises(ValueError, match="derived"):
        replace(Open(1), derived=2)
