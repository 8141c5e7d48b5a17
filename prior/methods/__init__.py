"""Pre-training methods by name; a module is imported only when its method is asked for."""

from collections.abc import Mapping
from typing import Any

from prior.errors import InputError

METHODS: dict[str, str] = {
    "random": "prior.methods.random",
    "imagenet": "prior.methods.imagenet",
    "convirt": "prior.methods.convirt",
    "clip": "prior.methods.clip",
    "gloria": "prior.methods.gloria",
    "lovt": "prior.methods.lovt",
    "mgca": "prior.methods.mgca",
    "prior": "prior.methods.prior",
    "place": "prior.methods.place",
    "aga": "prior.methods.aga",
    "mirror": "prior.methods.mirror",
    "simclr": "prior.methods.simclr",
    "supervised": "prior.methods.supervised",
    "imported": "prior.methods.imported",
}

# They get no jobs of tasks that need prompts or reports.
WITHOUT_TEXT: frozenset[str] = frozenset({"random", "imagenet", "simclr", "supervised", "imported"})

# Readings of a method that has several, the default first.
VARIANTS: dict[str, tuple[str, ...]] = {"prior": ("described", "released")}


def settings_with_variant(method: str, variant: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put the variant among the settings of a method that has several; leave other settings as they are.

    In params.yaml `variant` labels the rows, and chooses the variant of such a method. Where an experiment
    changes something else and wants a label of its own, the settings name the variant:
    `variant: shuffled, settings: {variant: described}`.

    Raises:
        InputError: the method has no such variant.
    """
    if method not in VARIANTS:
        return dict(settings)
    chosen = settings.get("variant", variant)
    if chosen not in VARIANTS[method]:
        known = ", ".join(VARIANTS[method])
        raise InputError(
            f"method {method} has no variant `{chosen}`, choose one of {known}; an entry whose rows are to "
            f"have another label names its variant in the settings, such as `variant: {VARIANTS[method][0]}`"
        )
    return {**settings, "variant": chosen}
