"""The phantom against the gates of its language and of its pixels. Run: python benchmarks/phantom.py

Language: 5,000 simulated reports beside the figures measured on 3,419 Open-i reports. With `--real`, the
folder that holds open_i/, the same measures are taken on those reports here: which words hedge is a matter
of definition. Pixels: the best that a single grey-value threshold reaches on the lesions of the prepared
SIIM-ACR films, chosen on the test films themselves, so that it is an upper bound; needs `snakemake
all_data` first.
"""

import argparse
import re
from collections import Counter
from pathlib import Path

import numpy as np
from sentences import phantom_reports

from prior.data.prepared import PreparedDataset
from prior.datasets.open_i import read_open_i
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=5000)
    parser.add_argument("--siim", type=Path, default=Path("data/prepared/siim"))
    parser.add_argument("--real", type=Path)
    given = parser.parse_args()
    reference = OPEN_I
    if given.real:
        table = read_open_i(given.real)
        reference = language(table["text"].tolist())
    print("| language | phantom | Open-i | ratio |\n|---|---|---|---|")
    for name, value in language([report.text for report in phantom_reports(given.reports, 0)]).items():
        print(f"| {name} | {value:.3g} | {reference[name]:.4g} | {value / reference[name]:.2f} |")
    if given.siim.is_dir():
        print(
            f"\nbest single threshold, pooled Dice on SIIM-ACR: {threshold_dice(given.siim, 96, 'pad'):.3f}"
        )


if __name__ == "__main__":
    main()
