"""Pre-training methods by name; a module is imported only when its method is asked for."""

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
}

# They get no jobs of tasks that need prompts or reports.
WITHOUT_TEXT: frozenset[str] = frozenset({"random", "imagenet", "simclr", "supervised"})
