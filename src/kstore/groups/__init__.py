"""Consumer groups: pure rules over their records. Layer 2: no disk, no socket, no clock."""
