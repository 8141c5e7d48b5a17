"""Images per second and core of image encoders in training. Run: python benchmarks/encoders.py

One thread, batches of 64, per second of CPU time; `auto` says what `pretraining.precision: auto` takes here.
"""

import argparse
import time
from itertools import product

import torch

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.training.precision import autocast, choose_device, resolve_precision

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def images_per_second(name: str, size: int, precision: str, layout: torch.memory_format, steps: int) -> float:
    config = ImageEncoderConfig(name=name, input_size=size)
    encoder = ImageEncoder(config).train().to(memory_format=layout)
    images = torch.rand(64, 1, size, size).contiguous(memory_format=layout)
    for step in range(steps + 1):
        if step == 1:
            start = time.process_time()
        with autocast(precision, images.device):
            loss = encoder(images)[-1].float().square().mean()
        loss.backward()
    return steps * len(images) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["test_resnet", "regnetx_002", "resnet18"])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"auto is {resolve_precision('auto', choose_device())}\n")
    print("| image encoder | precision | layout | images/s |\n|---|---|---|---|")
    for name, precision, layout in product(given.names, given.precisions, LAYOUTS):
        rate = images_per_second(name, given.size, precision, LAYOUTS[layout], given.steps)
        print(f"| {name} | {precision} | {layout} | {rate:.1f} |", flush=True)


if __name__ == "__main__":
    main()
