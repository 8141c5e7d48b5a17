"""ResNets of which only three stages were trained: the fourth hands the third one's map on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from prior.errors import InputError

# Of torch's batch norm.
EPSILON = 1e-5


def with_identity(state: Mapping[str, Tensor], initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add a fourth stage that is the identity to three stages of a ResNet.

    The residual branches end in a batch norm of factor zero, the shortcut copies the channels of the third
    stage (they are not negative, so that the ReLU keeps them) and leaves the others zero. Without a stride,
    that is at output stride 16, positions stay as well.

    Args:
        state: weights with timm's names, without `layer4`.
        initial: weights of the untrained network, for the branches that are switched off.

    Returns:
        Weights of the whole network.

    Raises:
        InputError: there is no third stage.
    """
    if not any(name.startswith("layer3.") for name in state):
        raise InputError("the file has no third stage of a ResNet")
    fourth = {name: value.clone() for name, value in initial.items() if name.startswith("layer4.")}
    found = {**state, **fourth}
    last = "bn3" if "layer4.0.bn3.weight" in fourth else "bn2"
    for name in fourth:
        if name.endswith((f".{last}.weight", f".{last}.bias")):
            found[name] = torch.zeros_like(found[name])
    shortcut, norm = "layer4.0.downsample.0.weight", "layer4.0.downsample.1"
    found[shortcut] = torch.eye(*found[shortcut].shape[:2]).reshape(found[shortcut].shape)
    found[f"{norm}.running_mean"] = torch.zeros_like(found[f"{norm}.running_mean"])
    found[f"{norm}.running_var"] = torch.full_like(found[f"{norm}.running_var"], 1 - EPSILON)
    found[f"{norm}.weight"] = torch.ones_like(found[f"{norm}.weight"])
    found[f"{norm}.bias"] = torch.zeros_like(found[f"{norm}.bias"])
    return found
