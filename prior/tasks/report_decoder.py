"""A transformer that writes a report from a feature map: vocabulary, training logits and beam search.

Encoder and decoder are the Pegasus of `transformers` (Zhang et al., arXiv 1912.08777) without its weights: a
transformer with normalisation before every block and sinusoidal positions, which is R2Gen's (Chen et al.,
arXiv 2010.16056) without relational memory and its conditional layer normalisation.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

PAD, EOS, UNK = 0, 1, 2
SPECIALS = 3


class Vocabulary:
    """Words of the training reports by falling frequency, then by name; rarer ones are unknown.

    Args:
        texts: reports as plain words, separated by spaces.
        min_count: a word is known if it occurs at least so often.
    """

    def __init__(self, texts: Iterable[str], min_count: int) -> None:
        counts = Counter(word for text in texts for word in text.split())
        kept = sorted((word for word, count in counts.items() if count >= min_count), key=str)
        self.words = sorted(kept, key=lambda word: -counts[word])
        self._ids = {word: number + SPECIALS for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words) + SPECIALS

    def encode(self, texts: Sequence[str], max_length: int) -> Tensor:
        """Return token ids [n, L] int64, each row ended by EOS and padded; L is at most `max_length`.

        A longer report loses its end, as in R2Gen.
        """
        rows = [[self._ids.get(word, UNK) for word in text.split()[: max_length - 1]] for text in texts]
        tensors = [torch.tensor([*row, EOS], dtype=torch.int64) for row in rows]
        return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PAD)

    def shares(self, tokens: Tensor) -> Tensor:
        """Return the share of every token [V] in `tokens` [n, L] without padding, each counted once more."""
        counts = torch.bincount(tokens[tokens != PAD], minlength=len(self)) + 1.0
        return counts / counts.sum()

    def decode(self, ids: Tensor) -> list[str]:
        """Return the words of ids [n, L] up to the first EOS, special tokens left out."""
        texts = []
        for row in ids.tolist():
            row = row[: row.index(EOS)] if EOS in row else row
            texts.append(" ".join(self.words[token - SPECIALS] for token in row if token >= SPECIALS))
        return texts


class ReportDecoder(nn.Module):
    """Regions of the last map → transformer encoder → transformer decoder over words.

    Every region is normalised over its channels before it is projected, because the scale of features differs
    between image encoders by more than few steps can undo.

    Args:
        channels: channels of the last map.
        shares: [V] share of each token in the training reports, which the initial output predicts everywhere.
        max_length: most tokens of a report, EOS included.
        max_regions: most cells of the last map.
        knobs: `width`, `encoder_layers`, `decoder_layers`, `heads` and `dropout`.
    """

    def __init__(
        self, channels: int, shares: Tensor, max_length: int, max_regions: int, knobs: Mapping[str, Any]
    ) -> None:
        # Imported here: it takes seconds, and no other task needs it.
        from transformers import PegasusConfig, PegasusForConditionalGeneration

        super().__init__()
        width, heads = int(knobs["width"]), int(knobs["heads"])
        self.max_length = max_length
        self.project = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        config = PegasusConfig(
            vocab_size=len(shares),
            d_model=width,
            encoder_layers=int(knobs["encoder_layers"]),
            decoder_layers=int(knobs["decoder_layers"]),
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
            dropout=float(knobs["dropout"]),
            max_position_embeddings=max(max_length, max_regions),
            # Words of unit length, as the positions are: at the default of .02 they drown in them.
            init_std=width**-0.5,
            scale_embedding=True,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=PAD,
            forced_eos_token_id=None,
        )
        # Any: transformers' classes are typed only in part.
        self.network: Any = PegasusForConditionalGeneration(config)
        self.network.final_logits_bias.copy_(shares.log())

    def regions(self, last: Tensor) -> Tensor:
        """Return projected regions [B, h·w, width] of the last map [B, C, h, w], row by row."""
        projected: Tensor = self.project(last.flatten(2).transpose(1, 2))
        return projected

    def forward(self, last: Tensor, tokens: Tensor) -> Tensor:
        """Return logits [B, L, V] of `tokens` [B, L], each predicted from those before it and the map.

        Args:
            last: [B, C, h, w].
            tokens: [B, L] from `Vocabulary.encode`; padding changes no logit of a token before it.
        """
        shifted = nn.functional.pad(tokens[:, :-1], (1, 0), value=PAD)
        logits: Tensor = self.network(
            inputs_embeds=self.regions(last), decoder_input_ids=shifted, use_cache=False
        ).logits
        return logits

    def write(self, last: Tensor, beams: int, length_penalty: float) -> Tensor:
        """Write reports by beam search; equal input gives equal reports.

        Args:
            last: [B, C, h, w].
            beams: partial reports kept per image.
            length_penalty: finished reports are ranked by log-probability / length ** `length_penalty`.

        Returns:
            Token ids [B, T], T at most `max_length`; EOS and padding follow the words.
        """
        found: Tensor = self.network.generate(
            inputs_embeds=self.regions(last),
            max_new_tokens=self.max_length,
            num_beams=beams,
            length_penalty=length_penalty,
            suppress_tokens=[PAD, UNK],
            do_sample=False,
        )
        return found[:, 1:]
