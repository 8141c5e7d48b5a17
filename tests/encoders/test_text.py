import pytest
import torch

from prior.encoders.text import TextEncoder, TextEncoderConfig, build_text_encoder, resolve_text_config
from prior.errors import InputError

TINY = TextEncoderConfig(vocab_size=30, width=16, layers=2, heads=2, max_tokens=12)


def test_padding_changes_nothing():
    encoder = build_text_encoder(TINY, 0).eval()
    ids = torch.randint(0, 30, (2, 6))
    mask = torch.ones(2, 6, dtype=torch.bool)
    padded = torch.nn.functional.pad(ids, (0, 4))
    features = encoder(padded, torch.nn.functional.pad(mask, (0, 4)))
    torch.testing.assert_close(features[:, :6], encoder(ids, mask))


def test_frozen_layers_have_no_gradient():
    encoder = TextEncoder(TINY.model_copy(update={"frozen_layers": 1}))
    trainable = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trainable
    assert all(name.startswith("network.encoder.layer.1.") for name in trainable)


def test_frozen_layers_stay_as_they_were_read_and_the_others_learn(tmp_path):
    source = build_text_encoder(TINY, 1)
    source.network.save_pretrained(tmp_path)
    config = TextEncoderConfig(vocab_size=30, max_tokens=12, pretrained=str(tmp_path), frozen_layers=1)
    encoder = build_text_encoder(resolve_text_config(config), 0)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    ids = torch.randint(0, 30, (2, 6))
    encoder(ids, ids >= 0).square().sum().backward()
    optimizer.step()
    trained = encoder.network.state_dict()
    for name, value in source.network.state_dict().items():
        assert torch.equal(trained[name], value) != name.startswith("encoder.layer.1."), name


def test_more_frozen_layers_than_layers_are_refused():
    with pytest.raises(InputError, match=r"text_encoder\.frozen_layers is 3, but the encoder has 2 layers"):
        TextEncoder(TINY.model_copy(update={"frozen_layers": 3}))


def test_a_model_that_is_no_bert_is_refused(tmp_path):
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(InputError, match="is a model of type gpt2; give a BERT"):
        resolve_text_config(TextEncoderConfig(vocab_size=30, pretrained=str(tmp_path / "gpt")))


def test_a_bert_of_any_shape_computes_what_its_own_model_does(tmp_path):
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    shape = {"hidden_act": "relu", "layer_norm_eps": 1e-3, "type_vocab_size": 1}
    torch.manual_seed(0)
    source = BertModel(BertConfig(vocab_size=30, max_position_embeddings=20, **sizes, **shape)).eval()
    source.save_pretrained(tmp_path)
    config = TextEncoderConfig(vocab_size=30, max_tokens=12, pretrained=str(tmp_path))
    encoder = build_text_encoder(resolve_text_config(config), 0).eval()
    ids = torch.randint(0, 30, (2, 6))
    expected = source(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(encoder(ids, ids >= 0), expected)
    described = tmp_path / "config.json"
    described.write_text(described.read_text().replace('"intermediate_size": 24', '"intermediate_size": 20'))
    with pytest.raises(InputError, match=r"the folder .* cannot be read"):
        build_text_encoder(resolve_text_config(config), 0)


def test_a_model_for_shorter_reports_is_refused(tmp_path):
    build_text_encoder(TINY, 1).network.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"reads 12 tokens; set text\.max_tokens"):
        resolve_text_config(TextEncoderConfig(vocab_size=30, max_tokens=13, pretrained=str(tmp_path)))


def test_pretrained_folder_sets_the_architecture(tmp_path):
    source = build_text_encoder(TINY, 1)
    source.network.save_pretrained(tmp_path)
    config = TextEncoderConfig(vocab_size=30, max_tokens=8, pretrained=str(tmp_path))
    resolved = resolve_text_config(config)
    assert (resolved.width, resolved.layers, resolved.heads) == (16, 2, 2)
    weights = build_text_encoder(resolved, 0).network.state_dict()
    for name, value in source.network.state_dict().items():
        assert torch.equal(weights[name], value[: len(weights[name])]), name


def test_wrong_vocabulary_is_refused(tmp_path):
    build_text_encoder(TINY, 1).network.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"text\.tokenizer"):
        resolve_text_config(TextEncoderConfig(vocab_size=31, max_tokens=8, pretrained=str(tmp_path)))
    with pytest.raises(InputError, match="cannot be read"):
        resolve_text_config(TextEncoderConfig(vocab_size=31, pretrained=str(tmp_path / "none")))
