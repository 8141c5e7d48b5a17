"""A training step of every method beside its two encoders alone. Run: python benchmarks/methods.py

Forward and backward pass at the sizes of params.yaml, one thread, on random images and on reports of eight
sentences of eight words; the median over the steps. `encoders` is one pass over the images and one over the
whole reports, of which a method may need more or fewer; `x` is the ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods import METHODS
from prior.methods.base import Batch, Method, Stage
from prior.params import Params, load
from prior.training.precision import LAYOUT, autocast, choose_device, resolve_precision

SENTENCES, WORDS, CLS, SEP = 8, 8, 2, 3
UNTRAINED = {"random", "imagenet", "imported"}


def make_batch(size: int, images: int, vocabulary: int, device: torch.device) -> Batch:
    words = torch.randint(5, vocabulary, (images, SENTENCES * WORDS))
    ids = torch.cat([torch.full((images, 1), CLS), words, torch.full((images, 1), SEP)], dim=1)
    owner = torch.arange(SENTENCES).repeat_interleave(WORDS)
    sentence = torch.nn.functional.pad(owner, (1, 1), value=-1).expand(images, -1).contiguous()
    views = torch.rand(2, images, 1, size, size)
    made = Batch(
        images=views[0],
        second_view=views[1],
        labels=torch.randint(0, 2, (images, 2)).float(),
        ids=ids,
        mask=torch.ones_like(ids, dtype=torch.bool),
        sentence=sentence,
        n_sentences=torch.full((images,), SENTENCES),
    ).to(device)
    made.images = made.images.contiguous(memory_format=LAYOUT)
    return made


def seconds(step: Callable[[], Tensor], method: Method, steps: int, device: torch.device) -> float:
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        torch.autograd.backward(step())
        method.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def rows(name: str, params: Params, precision: str, steps: int, device: torch.device) -> list[str]:
    shared, text = params.pretraining, params.text
    image = ImageEncoderConfig(input_size=params.image.size, **shared.image_encoder)
    words = TextEncoderConfig(vocab_size=text.vocab_size, max_tokens=text.max_tokens, **shared.text_encoder)
    settings = {"findings": ["first", "second"]} if name == "supervised" else {}
    torch.manual_seed(0)
    method: Method = import_module(METHODS[name]).build(settings, image, words).to(device)
    method.to(memory_format=LAYOUT).train()
    batch = make_batch(params.image.size, shared.batch_size, text.vocab_size, device)

    def encoders() -> Tensor:
        with autocast(precision, device):
            total = method.image_encoder(batch.images)[-1].float().mean()
            reads = getattr(method, "text_encoder", None)
            return total if reads is None else total + reads(batch.ids, batch.mask).float().mean()

    def losses(stage: Stage) -> Tensor:
        with autocast(precision, device):
            return torch.stack([loss.float() for loss in method.losses(batch, stage).values()]).sum()

    alone = seconds(encoders, method, steps, device)
    timed = [(s.name, seconds(lambda s=s: losses(s), method, steps, device)) for s in method.stages]
    return [f"| {name} | {s} | {1e3 * t:.0f} | {1e3 * alone:.0f} | {t / alone:.2f} |" for s, t in timed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[n for n in METHODS if n not in UNTRAINED])
    parser.add_argument("--steps", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device, params = choose_device(), load(Path(__file__).parents[1] / "params.yaml")
    precision = resolve_precision(params.pretraining.precision, device)
    print(f"batches of {params.pretraining.batch_size}, {params.image.size} px, {precision} on {device}\n")
    print("| method | stage | step, ms | encoders, ms | x |\n|---|---|---|---|---|")
    for name in given.names:
        print("\n".join(rows(name, params, precision, given.steps, device)), flush=True)


if __name__ == "__main__":
    main()
