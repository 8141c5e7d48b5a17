"""The image encoder as one ONNX file, checked against the network that it was made from."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prior.encoders.bundle import Bundle
from prior.encoders.image import ImageEncoder
from prior.errors import InputError

# torch writes ONNX with the help of onnxscript, which needs onnx.
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value of an output (of 1 if all are smaller)."""
INPUT = "images"
CHECKED_BATCHES = (1, 3)


class MapsAndPooled(nn.Module):
    """Returns the maps of an image encoder, finest first, and the spatial mean of the last."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images [B, 1, H, W] in [0, 1]; returns [B, C_k, h_k, w_k] for each k, and [B, C]."""
        maps = self.encoder(images)
        return (*maps, maps[-1].mean(dim=(2, 3)))


def output_names(encoder: ImageEncoder) -> list[str]:
    """Name the outputs: `map_0`, `map_1`, … from fine to coarse, and `pooled`."""
    return [*(f"map_{k}" for k in range(len(encoder.strides))), "pooled"]


def require_packages() -> None:
    """Raise `InputError` where a package that only exports need is not installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}; run `pip install {' '.join(missing)}`")


def write_onnx(encoder: ImageEncoder, bundle: Bundle, path: Path) -> None:
    """Write the graph with weights, for any batch size, and compare it with the network.

    The normalisation is part of the graph: its input are grey values in [0, 1].

    Args:
        encoder: image encoder on the CPU, in evaluation mode.
        bundle: where it comes from.
        path: `.onnx` file.

    Raises:
        InputError: onnxruntime computes something else than torch.
    """
    module = MapsAndPooled(encoder).eval()
    size = encoder.config.input_size
    with torch.no_grad():
        program = torch.onnx.export(
            module,
            (torch.rand(2, 1, size, size),),
            dynamo=True,
            input_names=[INPUT],
            output_names=output_names(encoder),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise InputError(f"torch wrote no ONNX graph of {encoder.config.name}; nothing was exported")
    program.model.metadata_props.update(
        {
            "bundle": bundle.name,
            "simulated": str(bundle.info.simulated).lower(),
            "input": f"grey values in [0, 1], [batch, 1, {size}, {size}]",
            "strides": ",".join(map(str, encoder.strides)),
        }
    )
    program.save(path)
    _require_equal(module, path)


def _require_equal(module: MapsAndPooled, path: Path) -> None:
    import onnxruntime

    config = module.encoder.config
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = output_names(module.encoder)
    generator = torch.Generator().manual_seed(0)
    for count in CHECKED_BATCHES:
        images = torch.rand(count, 1, config.input_size, config.input_size, generator=generator)
        with torch.inference_mode():
            expected = [output.numpy() for output in module(images)]
        found = session.run(names, {INPUT: images.numpy()})
        for name, ours, theirs in zip(names, expected, found, strict=True):
            error = float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max()))
            # Not `>`: a NaN must fail too.
            if not error <= TOLERANCE:
                raise InputError(
                    f"{config.name}: output {name} of the ONNX graph differs from torch's by {error:.2g}, "
                    f"over {TOLERANCE:g}; nothing was exported. Install the versions of requirements.lock"
                )
