"""Encoders and judges by name: equal to what they are made of, and one sentence for what cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from looktwice.benchmark.language import open_encoder, open_judge, opened
from looktwice.errors import LookTwiceError, UnknownName, UsageError

TEXTS = ["a dent at the rim", "a scratch", "no defect", "a dent at the rim and a scratch beside it"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT laid out as sentence-transformers saves one."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in TEXTS for word in text.split()})]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    pooling(folder, pooling_mode_mean_tokens=True)
    return folder


def pooling(folder: Path, **modes: bool) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))


def by_hand(folder: Path, text: str, cls: bool = False) -> np.ndarray:
    """One text alone: no padding to leave out."""
    import torch
    import transformers

    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        text, truncation=True, max_length=6, return_tensors="pt"
    )
    with torch.inference_mode():
        states = transformers.AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0]
    return (states[0] if cls else states.mean(0)).numpy()


def test_tokens_are_averaged_and_padding_does_not_count(model: Path) -> None:
    encode = open_encoder(f"hf:{model}")
    got = encode(TEXTS)
    assert got.shape == (4, 16)
    for text, one in zip(TEXTS, got, strict=True):
        np.testing.assert_allclose(one, by_hand(model, text), atol=1e-5)
    many = TEXTS * 20  # more than one batch
    np.testing.assert_allclose(encode(many)[76:], got, atol=1e-5)
    assert encode([]).shape[0] == 0
    assert encode.name == f"hf:{model}"


def test_the_first_token_counts_where_the_model_says_so(model: Path) -> None:
    pooling(model, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    try:
        np.testing.assert_allclose(open_encoder(f"hf:{model}")(TEXTS)[1], by_hand(model, TEXTS[1], cls=True), atol=1e-5)
        pooling(model, pooling_mode_max_tokens=True)
        with pytest.raises(UsageError, match="pools by pooling_mode_max_tokens, which is not run here"):
            open_encoder(f"hf:{model}")
    finally:
        pooling(model, pooling_mode_mean_tokens=True)


def test_parts_that_are_not_run_here_are_refused(model: Path) -> None:
    modules = [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Dense"}]
    (model / "modules.json").write_text(json.dumps(modules))
    try:
        with pytest.raises(UsageError, match="has the part Dense, which is not run here"):
            open_encoder(f"hf:{model}")
    finally:
        (model / "modules.json").unlink()


def test_a_function_of_ones_own_is_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_words.py").write_text("def lengths(texts):\n    return [[len(text), 1.0] for text in texts]\n")
    encode = open_encoder("python:my_words:lengths")
    assert encode(["ab", "c"]).tolist() == [[2.0, 1.0], [1.0, 1.0]]
    assert encode.name == "python:my_words:lengths"
    with pytest.raises(UsageError, match=r"no function for the encoder 'python:my_words:nothing': .*nothing"):
        open_encoder("python:my_words:nothing")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bert", "an encoder is hf:REPO, hf:FOLDER or python:MODULE:FUNCTION, got 'bert'"),
        ("hf:", "got 'hf:'"),
        ("hf:nobody/has-this", "nobody/has-this is not on this machine. Run `hf download nobody/has-this`"),
        ("python:no_such_module:f", "No module named 'no_such_module'"),
    ],
)
def test_an_encoder_that_cannot_be_had_says_why(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("hf:n"):
        pytest.importorskip("torch")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LookTwiceError, match=words.replace(".", r"\.")):
        open_encoder(name)


def test_a_folder_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="is no sentence encoder that can be loaded"):
        open_encoder(f"hf:{tmp_path}")


def test_a_talker_judges_and_what_it_cannot_say_is_raised(tmp_path: Path) -> None:
    script = tmp_path / "judge.yaml"
    script.write_text('rules:\n- when: broken\n  error: talker_timeout\ndefault: "Score: 4"\n')
    judge = open_judge(f"fake:{script}")
    assert judge("any prompt") == "Score: 4"
    assert judge.name == f"fake:{script}"
    assert judge.threads == 1
    with pytest.raises(LookTwiceError, match="talker_timeout"):
        judge("a broken one")
    assert opened(None, None) == (None, None, 1)
    with pytest.raises(UnknownName, match="Did you mean 'openai'"):
        open_judge("opnai:gpt-4o")
