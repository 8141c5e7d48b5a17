"""Other people's checkpoints, turned into bundles."""
