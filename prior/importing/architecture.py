"""Which timm network a set of weights with timm's names belongs to."""

import re
from collections.abc import Iterable

from prior.errors import InputError
from prior.importing.layout import Shapes

# Blocks per stage, and whether a block has three convolutions.
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
    # Three stages.
    ((2, 2, 2), False): "resnet18",
    ((3, 4, 6), True): "resnet50",
}
DENSENETS: dict[tuple[int, ...], str] = {
    (6, 12, 24, 16): "densenet121",
    (6, 12, 32, 32): "densenet169",
    (6, 12, 48, 32): "densenet201",
    (6, 12, 36, 24): "densenet161",
}
# Width and depth.
VITS = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large"}
SWINS: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "tiny",
    (96, (2, 2, 18, 2)): "small",
    (128, (2, 2, 18, 2)): "base",
}


def architecture(shapes: Shapes) -> str:
    """Return timm's name of the network with weights of these `shapes`.

    Raises:
        InputError: none of the sizes that papers use; the user has to give `encoder`.
    """
    name: str | None = None
    if "layer1.0.conv1.weight" in shapes:
        blocks = _counts(shapes, r"layer(\d+)\.(\d+)\.conv1\.weight")
        name = RESNETS.get((blocks, "layer1.0.conv3.weight" in shapes))
    elif "features.denseblock1.denselayer1.conv1.weight" in shapes:
        name = DENSENETS.get(_counts(shapes, r"features\.denseblock(\d+)\.denselayer(\d+)\.conv1\.weight"))
    elif patch := patch_size(shapes):
        name = _vit(shapes, patch)
    elif "layers.0.blocks.0.norm1.weight" in shapes:
        blocks = _counts(shapes, r"layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight")
        size = SWINS.get((shapes["layers.0.blocks.0.norm1.weight"][0], blocks))
        name = size and f"swin_{size}_patch4_window7_224"
    if not name:
        raise InputError(
            "the size of the network is none of the usual ones; give `encoder`, timm's name of it"
        )
    return name


def patch_size(shapes: Shapes) -> int | None:
    """Return the side of a ViT's patches in pixels, None for other networks."""
    if "blocks.0.norm1.weight" not in shapes or "patch_embed.proj.weight" not in shapes:
        return None
    return shapes["patch_embed.proj.weight"][-1]


def _vit(shapes: Shapes, patch: int) -> str | None:
    depth = len([name for name in shapes if re.fullmatch(r"blocks\.\d+\.norm1\.weight", name)])
    size = VITS.get((shapes["blocks.0.norm1.weight"][0], depth))
    if size is None:
        return None
    if "blocks.0.ls1.gamma" in shapes:
        return f"vit_{size}_patch{patch}_dinov2"
    if "norm_pre.weight" in shapes:
        return f"vit_{size}_patch{patch}_clip_quickgelu_224"
    return f"vit_{size}_patch{patch}_224"


def _counts(names: Iterable[str], pattern: str) -> tuple[int, ...]:
    """Count the second group of `pattern` for every value of the first, in order."""
    found = [match.groups() for match in (re.fullmatch(pattern, name) for name in names) if match]
    stages = sorted({int(stage) for stage, _ in found})
    return tuple(len({block for stage, block in found if int(stage) == k}) for k in stages)
