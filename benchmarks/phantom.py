"""The phantom against the gates of its language and of its pixels. Run: python benchmarks/phantom.py

Also what it costs (films of 128 pixels per second of CPU time), and how much the scanners
of the simulated hospitals differ: the same 60 patients without findings, once under each. `--sheet` draws a
contact sheet of 24 films instead, with view, hospital and findings below each.

Language: 5,000 simulated reports beside the figures measured on 3,419 Open-i reports. With `--real`, the
folder that holds open_i/, the same measures are taken on those reports here: which words hedge is a matter
of definition. Pixels: the best that a single grey-value threshold reaches on the lesions of the prepared
SIIM-ACR films, chosen on the test films themselves, so that it is an upper bound; needs `snakemake
all_data` first.
"""

import argparse
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from sentences import phantom_reports

from prior.data.prepared import PreparedDataset
from prior.datasets.open_i import read_open_i
from prior.phantom.anatomy import draw_body, draw_pose
from prior.phantom.film import take_film
from prior.phantom.findings import KINDS, Finding, draw_finding
from prior.phantom.hospital import generator, plan
from prior.phantom.lateral import lateral_of, take_lateral
from prior.phantom.radiograph import SCANNERS
from prior.reports.sentences import split_report

OPEN_I = {
    "sentences per report": 6.0,
    "distinct sentences": 0.36,
    "sentences that occur once": 0.30,
    "coverage of the 10 most frequent": 0.115,
    "coverage of the 100 most frequent": 0.38,
    "coverage of the 512 most frequent": 0.61,
    "reports with an exact duplicate": 0.26,
    "hedged reports": 0.17,
    "reports with comparison": 0.30,
    "vocabulary": 1850,
}
LATERAL_SHOWS = ("Pleural_Effusion", "Cardiomegaly", "Consolidation", "Edema", "Lung_Lesion", "Atelectasis")
HEDGED = re.compile(
    r"\b(may|might|could|possibl[ey]|probabl[ey]|likely|suspected|questionable|cannot exclude)\b"
)
COMPARED = re.compile(
    r"\b(stable|unchanged|interval|previous|prior|compar\w+|improved|worsened|increased|decreased)\b"
)


def language(texts: list[str]) -> dict[str, float]:
    reports = [[_normal(text[s.start : s.end]) for s in split_report(text)] for text in texts]
    sentences = Counter(sentence for report in reports for sentence in report)
    total = sentences.total()
    whole = Counter(tuple(report) for report in reports)
    joined = [" ".join(report) for report in reports]
    ranked = [n for _, n in sentences.most_common()]
    return {
        "sentences per report": total / len(reports),
        "distinct sentences": len(sentences) / total,
        "sentences that occur once": sum(n == 1 for n in ranked) / total,
        **{f"coverage of the {k} most frequent": sum(ranked[:k]) / total for k in (10, 100, 512)},
        "reports with an exact duplicate": sum(n for n in whole.values() if n > 1) / len(reports),
        "hedged reports": np.mean([bool(HEDGED.search(text)) for text in joined]),
        "reports with comparison": np.mean([bool(COMPARED.search(text)) for text in joined]),
        "vocabulary": len({word for text in joined for word in re.findall(r"[a-z]+", text)}),
    }


def _normal(sentence: str) -> str:
    return re.sub(r"\s+", " ", sentence).strip().lower()


def threshold_dice(root: Path, size: int, fit: str) -> float:
    data = PreparedDataset(root)
    rows = data.select("strict", 0, "test")["row"].to_numpy()
    images, masks = data.pixels(size, fit)[rows], data.mask_pixels(size, fit)[rows] > 0
    best = 0.0
    for level in range(8, 256, 8):
        for predicted in (images >= level, images < level):
            overlap = 2 * (predicted & masks).sum() / (predicted.sum() + masks.sum())
            best = max(best, float(overlap))
    return best


def speed(count: int = 200) -> float:
    start = time.process_time()
    films = 0
    for study in plan("mimic_cxr", count, 0):
        rng = generator(0, "mimic_cxr", 1, study.index)
        take_film(study.body, study.pose, study.findings, SCANNERS["mimic_cxr"], 128, rng)
        films += 1 + (lateral_of(study, "mimic_cxr", 128, 0) is not None)
    return films / (time.process_time() - start)


def scanner_rows(count: int = 60, size: int = 128) -> list[str]:
    """Mean grey, contrast, noise and sharpness of the films of one scanner each, as table rows."""
    studies = list(plan("mimic_cxr", count, 0))
    rows = []
    for name, scanner in SCANNERS.items():
        images = np.array([
            take_film(s.body, s.pose, [], scanner, size, generator(0, "mimic_cxr", 1, s.index)).image
            for s in studies
        ], float)  # fmt: skip
        fine = images - gaussian_filter(images, (0, 1, 1))
        broad = gaussian_filter(images, (0, 1, 1)) - gaussian_filter(images, (0, 3, 3))
        values = (images.mean(), images.std((1, 2)).mean(), fine.std(), broad.std())
        rows.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    return rows


def sheet(path: Path, size: int = 224) -> None:
    """Draw 24 films with captions; every finding is among them, and every third film is lateral."""
    wanted = [kind for kind in KINDS if kind != "Support_Devices"]
    tiles = []
    for number in range(24):
        hospital = list(SCANNERS)[number % 5] if number % 3 != 2 else "mimic_cxr"
        view = "LATERAL" if number % 3 == 2 else "AP" if number % 4 == 1 else "PA"
        rng = np.random.default_rng([9, number])
        body = draw_body(rng, "MF"[number % 2], int(np.clip(rng.normal(57, 17), 18, 90)))
        pose = draw_pose(rng, "PA" if view == "LATERAL" else view)
        kinds = LATERAL_SHOWS if view == "LATERAL" else [*wanted, "Support_Devices"]
        place = number // 3 if view == "LATERAL" else number - number // 3
        findings = [draw_finding(rng, kinds[place % len(kinds)], 0.5)] if place < len(kinds) else []
        scanner = SCANNERS[hospital]
        if view == "LATERAL":
            image = take_lateral(body, pose, findings, scanner, size, rng)
        else:
            foreign = 2 if hospital == "object_cxr" and not findings else 0
            image = take_film(body, pose, findings, scanner, size, rng, foreign).image
        lines = (f"{view.lower() if view == 'LATERAL' else view} · {body.sex} {body.age} · {hospital}",
                 caption(findings[0]) if findings else "no finding")  # fmt: skip
        tiles.append(_captioned(image, lines))
    rows = [np.concatenate(tiles[i : i + 6], 1) for i in range(0, 24, 6)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).quantize(64).save(path, optimize=True)


def caption(finding: Finding) -> str:
    words = [finding.variant, finding.kind.replace("_", " ").lower(), finding.side, finding.zone]
    return ", ".join([word for word in words if word] + [f"severity {finding.severity:.2f}"])


def _captioned(image: np.ndarray, lines: tuple[str, str]) -> np.ndarray:
    size = image.shape[0]
    tile = Image.new("L", (size + 6, size + 34), 255)
    tile.paste(Image.fromarray(image), (3, 3))
    pen = ImageDraw.Draw(tile)
    for place, text in enumerate(lines):
        height = 11
        while pen.textlength(text, font_size=height) > size:
            height -= 1
        pen.text((4, size + 5 + 13 * place), text, fill=0, font_size=height)
    return np.asarray(tile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=5000)
    parser.add_argument("--siim", type=Path, default=Path("data/prepared/siim"))
    parser.add_argument("--real", type=Path)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    if given.sheet:
        sheet(given.sheet)
        return
    reference = OPEN_I
    if given.real:
        table = read_open_i(given.real)
        reference = language(table["text"].tolist())
    print("| language | phantom | Open-i | ratio |\n|---|---|---|---|")
    for name, value in language([report.text for report in phantom_reports(given.reports, 0)]).items():
        print(f"| {name} | {value:.3g} | {reference[name]:.4g} | {value / reference[name]:.2f} |")
    print("\n| scanner | mean grey | contrast (SD) | finest detail (SD) | fine detail (SD) |")
    print("\n".join(["|---|---|---|---|---|", *scanner_rows()]))
    print(f"\n{speed():.0f} films of 128 pixels, frontal and lateral, per second of CPU time")
    if given.siim.is_dir():
        print(
            f"\nbest single threshold, pooled Dice on SIIM-ACR: {threshold_dice(given.siim, 96, 'pad'):.3f}"
        )


if __name__ == "__main__":
    main()
