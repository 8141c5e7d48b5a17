"""Records, image store, splits and batches."""
