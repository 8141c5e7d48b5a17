"""`prior`: one benchmark for image encoders pre-trained on radiology reports."""

__version__ = "0.1.0"
