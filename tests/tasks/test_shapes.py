"""What holds the centre of a box: masks of any form, boxes where there are none, in original pixels."""

import numpy as np
import pandas as pd

from prior.data.prepared import PreparedDataset
from prior.data.schemas import write_table
from prior.datasets.object_cxr import ELLIPSE, POLYGON, RECTANGLE, bounds, shape_to_rle
from prior.tasks.shapes import with_shapes
from tests.tasks.fixtures import make_data

SIDES = ["x_min", "y_min", "x_max", "y_max"]
HEIGHT, WIDTH = 100, 200
SHAPES = {
    "i0000": [(ELLIPSE, [20, 20, 60, 60]), (RECTANGLE, [40, 40, 80, 60])],
    "i0001": [(POLYGON, [100, 0, 180, 0, 100, 80])],
}


def dataset(root, masks=True):
    """Two images of 100 × 200 pixels with objects, others without, in a store of 32 × 32."""
    data = make_data(root / "object_cxr", n=20)
    images = PreparedDataset(data).images.assign(height=HEIGHT, width=WIDTH)
    boxes = [(i, "Object", *map(float, bounds(s))) for i, shapes in SHAPES.items() for s in shapes]
    rles = [(i, "Object", shape_to_rle(s, HEIGHT, WIDTH)) for i, shapes in SHAPES.items() for s in shapes]
    write_table(data, "images", images)
    write_table(data, "boxes", pd.DataFrame(boxes, columns=["image_id", "label", *SIDES]))
    write_table(data, "masks", pd.DataFrame(rles if masks else [], columns=["image_id", "label", "rle"]))
    return PreparedDataset(data)


def rows(points):
    """An image row for each image, and a prediction of 2 × 2 store pixels around each original point."""
    scale, pad = 32 / WIDTH, (32 - 16) / 2
    found = [(i, "image", *[np.nan] * 4) for i in ("i0000", "i0001", "i0002")]
    for image, x, y in points:
        u, v = x * scale, y * scale + pad
        found.append((image, "prediction", u - 1, v - 1, u + 1, v + 1))
    return pd.DataFrame(found, columns=["image_id", "kind", *SIDES])


POINTS = [
    ("i0000", 40.5, 30.5),
    ("i0000", 50.5, 45.5),
    # In the corner of the ellipse's box
    ("i0000", 22.5, 22.5),
    ("i0001", 110.5, 10.5),
    # In the box of the triangle, beyond its long side
    ("i0001", 170.5, 70.5),
    ("i0002", 50.5, 50.5),
]


def test_a_centre_is_held_by_the_shape_and_not_by_its_box(tmp_path):
    found = with_shapes(rows(POINTS), dataset(tmp_path), 32, "pad")
    assert found["n_shapes"].tolist()[:3] == [2, 1, 0]
    assert found["n_shapes"][3:].isna().all()
    assert found["shapes"].tolist() == [None] * 3 + [[0], [0, 1], [], [0], [], []]


def test_boxes_are_the_shapes_of_images_without_masks(tmp_path):
    found = with_shapes(rows(POINTS), dataset(tmp_path, masks=False), 32, "pad")
    assert found["shapes"].tolist()[3:] == [[0], [0, 1], [0], [0], [0], []]


def test_the_columns_survive_a_file(tmp_path):
    found = with_shapes(rows(POINTS), dataset(tmp_path), 32, "pad")
    found.to_parquet(tmp_path / "cell.parquet")
    again = pd.read_parquet(tmp_path / "cell.parquet")["shapes"]
    assert [None if s is None else list(s) for s in again] == found["shapes"].tolist()
