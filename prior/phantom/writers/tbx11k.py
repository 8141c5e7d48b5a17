"""TBX11K: three folders of PNG images, COCO json, VOC xml and lists; the test images have no label.

The phantom knows no tuberculosis: its consolidations stand for active, its nodules and masks for latent ones.
"""

from pathlib import Path
from typing import Any

from PIL import Image

from prior.data.files import atomic_path, write_json, write_text
from prior.phantom.archives import Rows
from prior.phantom.film import Film
from prior.phantom.hospital import Study
from prior.phantom.report import Report
from prior.phantom.writers.boxes import bounds
from prior.phantom.writers.common import token

HOSPITAL, STREAM, REPORTS = "rsna", 14, False
ROOT = "TBX11K"
CATEGORIES = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
VOC = ("xmin", "ymin", "xmax", "ymax")
SCALE = 5
STANDS_FOR = {"Consolidation": 0, "Lung_Lesion": 1}


def write_study(
    out: Path, study: Study, film: Film, report: Report | None, seed: int
) -> tuple[str, str, Rows]:
    """Write one image; return its name as image and study id, and its entry."""
    regions = [region for region in film.regions if region.label in STANDS_FOR and region.mask.any()]
    kind = "tb" if regions else "sick" if study.findings else "health"
    u = int(token(8, "tbx11k", seed, study.index), 16) % 10
    side = "test" if u == 0 else "val" if u < 3 else "train"
    name = f"{kind[0] if kind != 'tb' else 'tb'}{study.index:04d}"
    file = f"{'test' if side == 'test' else kind}/{name}.png"
    with atomic_path(out / ROOT / "imgs" / file) as path:
        Image.fromarray(film.image).save(path)
    boxes = [(STANDS_FOR[region.label], bounds(region.mask)) for region in regions]
    entry: dict[str, Any] = {"file": file, "id": study.index, "size": film.image.shape[0], "boxes": boxes}
    if side != "test" and boxes:
        write_text(out / ROOT / "annotations" / "xml" / f"{name}.xml", _voc(entry))
    return name, name, {side: [entry]}


def _voc(entry: dict[str, Any]) -> str:
    """VOC xml in pixels of the film before it was made smaller, as its `size` says."""
    before = SCALE * entry["size"]
    objects = "".join(
        f"<object><name>{CATEGORIES[kind]}</name><bndbox>"
        + "".join(f"<{k}>{SCALE * value}</{k}>" for k, value in zip(VOC, box, strict=True))
        + "</bndbox></object>"
        for kind, box in entry["boxes"]
    )
    size = f"<size><width>{before}</width><height>{before}</height></size>"
    return f"<annotation><filename>{entry['file']}</filename>{size}{objects}</annotation>\n"


def write_tables(out: Path, rows: Rows, seed: int) -> None:
    """Write the json and the list of training and validation."""
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, start=1)]
    for side in ("train", "val"):
        entries = rows.get(side, [])
        images = [
            {"id": item["id"], "file_name": item["file"], "height": item["size"], "width": item["size"]}
            for item in entries
        ]
        marks = [
            {"image_id": entry["id"], "category_id": kind + 1, "bbox": [x, y, right - x, bottom - y]}
            for entry in entries
            for kind, (x, y, right, bottom) in entry["boxes"]
        ]
        content = {"images": images, "annotations": marks, "categories": categories}
        write_json(out / ROOT / "annotations" / "json" / f"TBX11K_{side}.json", content)
        files = "\n".join(entry["file"] for entry in entries)
        write_text(out / ROOT / "lists" / f"TBX11K_{side}.txt", files + "\n")
