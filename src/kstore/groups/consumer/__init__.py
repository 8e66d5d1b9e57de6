"""Consumer groups of KIP-848: the coordinator assigns, members reconcile one by one. Pure, layer 2."""
