"""Graduation: a copy of a log directory on which a real Kafka broker boots and serves at once.

Layer 4: over the store. Called by `kstore.graduate` and `kstore graduate`. `cluster` says what the broker must find,
`copying` brings the logs across, `build` puts both together.
"""

from kstore.graduation.build import Graduated, graduate

__all__ = ["Graduated", "graduate"]
