"""Downstream tasks: name → module whose `evaluate` turns a bundle into predictions."""

TASKS: dict[str, str] = {
    "classification": "prior.tasks.classification",
    "zero_shot": "prior.tasks.zero_shot",
    "retrieval": "prior.tasks.retrieval",
    "segmentation": "prior.tasks.segmentation",
    "detection": "prior.tasks.detection",
    "grounding": "prior.tasks.grounding",
    "prototypes": "prior.tasks.prototypes",
    "report_generation": "prior.tasks.report_generation",
}

# They read maps of the encoder, the others the mean over its last one.
DENSE_TASKS: frozenset[str] = frozenset({"segmentation", "detection", "report_generation"})
