from collections.abc import Sequence
from typing import Final, final

KINDS: Final[tuple[str, ...]]

@final
class Layout:
    def __init__(
        self,
        struct: type,
        version: int,
        names: Sequence[str],
        defaults: Sequence[object],
        fields: list[tuple[int, int, int, bool, bool, int, Layout | None]],
        flexible: bool,
        refused: Sequence[int],
    ) -> None: ...
    @property
    def struct(self) -> type: ...
    @property
    def version(self) -> int: ...
