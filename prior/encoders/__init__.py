"""Image and text encoders, and the bundles that carry them to the tasks."""
