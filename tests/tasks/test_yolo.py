"""The YOLOv3-form detector against formulas by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from prior.metrics.detection import detection_metrics
from prior.protocols import load_protocol
from prior.tasks.detection import prediction_rows
from prior.tasks.yolo import (
    YoloDetector,
    box_losses,
    corners,
    decode,
    encode,
    shape_iou,
    suppress,
)

HEAD = {
    "widths": [8, 8, 8],
    "priors": [[4, 4], [8, 6], [6, 10], [16, 12], [12, 20], [20, 20], [40, 30], [30, 44], [60, 60]],
    "priors_at": 64,
    "weights": {"xy": 2.5, "wh": 2.5, "object": 1.0, "no_object": 0.5, "class": 1.0},
    "ignore": 0.5,
    "confidence": 0.5,
    "nms": 0.5,
    "boxes": 100,
}
PRIORS = torch.tensor(HEAD["priors"], dtype=torch.float32).view(3, 3, 2)
SIDES = [(8, 8), (4, 4), (2, 2)]
BOXES = [
    torch.tensor([[3.0, 5, 8, 10], [20, 30, 41, 48], [1, 2, 62, 60]]),
    torch.zeros(0, 4),
    torch.tensor([[40.0, 41, 53, 60]]),
]


def perfect(targets):
    """Raw numbers that say exactly what the targets want."""
    raws = []
    for target in targets:
        sure = torch.where(target.objects, 30.0, -30.0).unsqueeze(-1)
        centre = target.values[..., :2].clamp(1e-6, 1 - 1e-6).logit()
        raws.append(torch.cat([centre, target.values[..., 2:], sure, sure], dim=-1))
    return raws


def test_shape_overlap_by_hand():
    found = shape_iou(torch.tensor([[2.0, 4.0]]), torch.tensor([[2.0, 4.0], [4.0, 2.0], [1.0, 1.0]]))
    assert found.tolist() == [[1.0, pytest.approx(4 / 12), pytest.approx(1 / 8)]]


def test_every_box_goes_to_its_best_prior_and_cell_of_every_level():
    targets = encode(BOXES, PRIORS, SIDES, 64, 0.5)
    for level, (target, (rows, columns)) in enumerate(zip(targets, SIDES, strict=True)):
        expected = []
        for image, boxes in enumerate(BOXES):
            for x0, y0, x1, y1 in boxes.tolist():
                w, h = x1 - x0, y1 - y0
                overlaps = [
                    min(w, a) * min(h, b) / (w * h + a * b - min(w, a) * min(h, b))
                    for a, b in PRIORS[level].tolist()
                ]
                prior = max(range(3), key=overlaps.__getitem__)
                cell = int((y0 + y1) / 2 * rows / 64), int((x0 + x1) / 2 * columns / 64)
                expected.append([image, prior, *cell])
        assert target.objects.nonzero().tolist() == sorted(expected)


def test_decoding_undoes_encoding_at_every_level():
    targets = encode(BOXES, PRIORS, SIDES, 64, 0.5)
    for raw, priors, target in zip(perfect(targets), PRIORS, targets, strict=True):
        for image, boxes in enumerate(BOXES):
            found = corners(decode(raw, priors, 64))[image][target.objects[image]]
            pairs = [sorted(b.tolist()) for b in (found, boxes)]
            assert pairs[0] == [pytest.approx(box, abs=1e-2) for box in pairs[1]]


def test_a_perfect_prediction_cannot_be_improved():
    targets = encode(BOXES, PRIORS, SIDES, 64, 0.5)
    for raw, target in zip(perfect(targets), targets, strict=True):
        losses = box_losses(raw.requires_grad_(), target)
        assert all(losses[name].item() == pytest.approx(0, abs=1e-4) for name in ("wh", "object", "class"))
        losses["xy"].backward()
        assert raw.grad.abs().max() < 1e-6


@pytest.mark.parametrize(("ignore", "punished"), [(0.99, 191), (1.0, 192)])
def test_losses_of_one_box_by_hand(ignore, punished):
    # A box of 8 × 6 with centre (13, 21) is the second prior's; cell (2, 1) of stride 8, offset (.625, .625).
    boxes = [torch.tensor([[9.0, 18.0, 17.0, 24.0]])]
    target = encode(boxes, PRIORS, SIDES, 64, ignore)[0]
    raw = torch.zeros(1, 3, 8, 8, 6)
    raw[0, 1, 2, 1, :4] = torch.tensor([1.0, 0.0, 0.5, -1.0])
    losses = {name: value.item() * 192 for name, value in box_losses(raw, target).items()}
    one = 1 / (1 + math.exp(-1))
    offsets = -0.625 * math.log(one) - 0.375 * math.log(1 - one) + math.log(2)
    assert losses["xy"] == pytest.approx(offsets, rel=1e-4)
    assert losses["wh"] == pytest.approx(0.25 + 1.0)
    assert losses["object"] == pytest.approx(math.log(2), rel=1e-4)
    assert losses["class"] == pytest.approx(math.log(2), rel=1e-4)
    # The own prior is asked for no object, too, unless it overlaps by more than `ignore`.
    assert losses["no_object"] == pytest.approx(punished * math.log(2), rel=1e-5)


def test_good_priors_are_not_asked_for_no_object():
    boxes = [torch.tensor([[9.0, 18.0, 17.0, 24.0]])]
    targets = encode(boxes, PRIORS, SIDES, 64, 0.4)
    # 6 × 10 overlaps 8 × 6 by 36 / 72, 4 × 4 by 16 / 48, 16 × 12 by 48 / 192.
    assert targets[0].ignored.nonzero().tolist() == [[0, 1, 2, 1], [0, 2, 2, 1]]
    assert not any(target.ignored.any() for target in targets[1:])


def test_suppression_keeps_the_best_of_duplicates_and_confident_ones():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    objectness = torch.tensor([0.8, 0.9, 0.7, 0.49])
    found = suppress(boxes, objectness, HEAD)
    assert found["boxes"].tolist() == [[1, 0, 11, 10], [20, 20, 30, 30]]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert len(suppress(boxes, objectness, {**HEAD, "boxes": 1})["boxes"]) == 1


def test_perfect_numbers_are_detected(monkeypatch):
    detector = YoloDetector([4, 4, 4], [8, 16, 32], 64, HEAD)
    raws = perfect(encode(BOXES, detector.priors, SIDES, 64, 0.5))
    monkeypatch.setattr(detector, "forward", lambda maps: raws)
    found = detector.detect([])
    assert [len(f["boxes"]) for f in found] == [3, 0, 1]
    assert sorted(found[0]["boxes"].tolist()) == [
        pytest.approx(b, abs=1e-2) for b in sorted(BOXES[0].tolist())
    ]
    assert detector.losses([], [{"boxes": b} for b in BOXES])["wh"].item() == pytest.approx(0, abs=1e-4)


def test_priors_are_scaled_to_the_image():
    detector = YoloDetector([4, 4, 4], [8, 16, 32], 32, HEAD)
    assert detector.priors[2, 2].tolist() == [30, 30]


@pytest.mark.parametrize("strides", [[4, 8, 16, 32], [8, 16, 16], [16, 16, 16, 16]])
def test_detector_learns_from_negatives_and_keeps_boxes_inside(strides):
    torch.manual_seed(0)
    detector = YoloDetector([5] * len(strides), strides, 64, {**HEAD, "confidence": 0.001})
    maps = [torch.rand(2, 5, 64 // s, 64 // s) for s in strides]
    losses = detector.losses(maps, [{"boxes": torch.zeros(0, 4)}] * 2)
    assert losses["xy"] == losses["wh"] == losses["object"] == losses["class"] == 0
    assert losses["no_object"] > 0
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    for one in detector.eval().detect(maps):
        assert 0 < len(one["boxes"]) <= HEAD["boxes"]
        assert one["boxes"].min() >= 0
        assert one["boxes"].max() <= 64
        assert one["scores"].equal(one["scores"].sort(descending=True).values)


@pytest.mark.parametrize(("family", "setting"), [("lovt", "rsna_frozen_10"), ("mgca", "frozen_rsna")])
def test_sixteen_images_are_learned_by_heart(family, setting):
    """With the families' priors, weights and confidence; every fourth image is empty."""
    generator, size = np.random.default_rng(0), 64
    images, boxes = torch.from_numpy(generator.normal(0, 0.3, (16, 1, size, size))).float(), {}
    for k in range(16):
        found = []
        for _ in range(min(k % 4, 2)):
            (w, h), (x, y) = generator.integers(12, 30, 2), generator.integers(0, 34, 2)
            images[k, 0, y : y + h, x : x + w] += 2
            found.append([x, y, x + w, y + h])
        boxes[f"i{k}"] = np.array(found, np.float32).reshape(-1, 4)
    maps = [torch.nn.functional.pixel_unshuffle(images, stride) for stride in (8, 16, 32)]
    head = {**load_protocol(family, "detection", setting)["head"], "widths": [16, 16, 16]}
    torch.manual_seed(0)
    detector = YoloDetector([64, 256, 1024], [8, 16, 32], size, head)
    optimiser = torch.optim.Adam(detector.parameters(), lr=3e-3)
    targets = [{"boxes": torch.from_numpy(found)} for found in boxes.values()]
    for _ in range(80):
        loss = torch.stack(list(detector.losses(maps, targets).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    table = pd.DataFrame({"image_id": list(boxes), "patient_id": list(boxes)})
    with torch.inference_mode():
        frame = prediction_rows(table, boxes, detector.eval().detect(maps))
    values = detection_metrics(frame).compute(np.ones((1, 16)))
    assert values["map_40_75", ""][0] > 0.9
