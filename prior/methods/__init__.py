"""Pre-training methods by name; a module is imported only when its method is asked for."""

METHODS: dict[str, str] = {
    "random": "prior.methods.random",
    "convirt": "prior.methods.convirt",
    "prior": "prior.methods.prior",
}
