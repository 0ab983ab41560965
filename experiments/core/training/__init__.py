"""The Lightning CLI: one config read, validated and fitted, for one seed or for a stack of seeds."""
