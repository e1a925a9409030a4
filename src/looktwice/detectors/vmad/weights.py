"""Models from files: a folder that training saved, LISA's published folders, or published parts to start training from.

Nothing is downloaded, and what does not fit is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPVisionModel
from transformers.utils import logging

from looktwice.checkpoints import BadCheckpoint, Table, empty_weights, load_strict, locate, read_tensors
from looktwice.checkpoints import clip as clip_keys
from looktwice.checkpoints import lisa as lisa_keys
from looktwice.checkpoints import llava as llava_keys
from looktwice.checkpoints import sam as sam_keys
from looktwice.checkpoints import tokenpacker as tokenpacker_keys
from looktwice.detectors.vmad import projector
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.dssl import Dssl
from looktwice.detectors.vmad.model import VmadModel, mask_prompt, quantisation, visual
from looktwice.detectors.vmad.processing import VmadProcessor, join
from looktwice.errors import UsageError

TEXT_FIELDS = (  # of a LLaVA or LISA folder's configuration that are the language model's
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
)

Opened = tuple[VmadModel, VmadProcessor]


def open_saved(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, bits: int | None = None
) -> Opened:
    """Open a folder written by `VmadModel.save_pretrained` and `VmadProcessor.save_pretrained`.

    bits: keep the language model's weights in 4 or 8 bits. Raises BadCheckpoint where the weights are broken or not
    those of the configuration beside them, UsageError where the tokenizer is not there, MissingExtra.
    """
    options: dict[str, Any] = {} if bits is None else {"quantization_config": quantisation(bits)}
    try:
        with _quiet():
            opened: Any = VmadModel.from_pretrained(
                str(folder),
                dtype=dtype,
                device_map={"": device},
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                **options,
            )
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{folder}: the weights cannot be read ({error})") from error
    model, found = opened
    odd = {kind: sorted(map(str, found[kind])) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    words = {"missing_keys": "lack", "unexpected_keys": "also hold", "mismatched_keys": "have other shapes for"}
    said = [f"{words[kind]} {names[0]} and {len(names) - 1} more" for kind, names in odd.items() if names]
    if said:
        raise BadCheckpoint(f"{folder}: the weights are not those of config.json beside them: they {', '.join(said)}")
    return model.eval(), VmadProcessor.from_pretrained(folder, model.config)


def open_lisa(
    folder: Path, clip: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **changes: Any
) -> Opened:
    """Open one of LISA's published folders, with the CLIP tower its configuration names from a file or folder `clip`.

    changes: fields of `VmadConfig` other than LISA-7B's. Raises BadCheckpoint, naming what does not fit.
    """
    raw = _json(folder)
    text = {"model_type": "llama", **{name: raw[name] for name in TEXT_FIELDS if name in raw}}
    marks = bool(raw.get("mm_use_im_start_end", True))
    config = VmadConfig.lisa_7b(**{"text_config": text, "image_start_end": marks, **changes})
    tokenizer = _tokenizer(folder)
    config.seg_token_id = tokenizer.get_vocab().get(config.seg_token)
    processor = VmadProcessor(config, tokenizer)
    with empty_weights():
        model = VmadModel(config)
    load_strict(model, folder, lisa_keys.PUBLISHED, allow_missing=("vision_tower.*",), dtype=dtype)
    load_strict(model.vision_tower, clip, clip_keys.VISION_LAYOUTS, dtype=dtype)
    return model.to(device).eval(), processor


def assemble(
    config: VmadConfig,
    tokenizer: str | Path,
    *,
    clip: str | Path | None = None,
    llava: str | Path | None = None,
    sam: str | Path | None = None,
    lisa: str | Path | None = None,
    tokenpacker: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> Opened:
    """Put a model together to train from: parts with published weights get them, the others start at random.

    tokenizer: the folder of the language model's. clip: the tower's file or folder. llava: LLaVA's (its own layout),
    whose projector also starts "linear", "mlp2x" and the warm LTC. sam: a SAM file. lisa: a LISA folder instead of
    llava and sam, its projector left out where the configuration has another. tokenpacker: a published projector for
    the fresh LTC. Raises BadCheckpoint, naming what does not fit, and UsageError for parts that exclude each other.
    """
    if lisa is not None and (llava is not None or sam is not None):
        raise UsageError("a LISA folder brings the language model and SAM: leave llava and sam out")
    words = lisa or llava
    if words is not None:  # the mask token is added after: the rows must be those of the file
        config.text_config.vocab_size = read_tensors(words).shape("model.embed_tokens.weight")[0]
    lora, config.lora = config.lora, None
    with empty_weights():
        model = VmadModel(config)
    loaded: set[str] = set()
    for files, tables in (
        (lisa, lisa_keys.PUBLISHED if config.projector == "linear" else lisa_keys.WITHOUT_PROJECTOR),
        (llava, _llava_table(config)),
        (tokenpacker, tokenpacker_keys.PROJECTOR),
    ):
        if files is not None:
            loaded |= set(load_strict(model, files, tables, allow_missing=("*",), dtype=dtype).filled)
    for part, files, layouts in (
        (model.vision_tower, clip, clip_keys.VISION_LAYOUTS),
        (model.visual_model, sam, sam_keys.LAYOUTS),
    ):
        if files is not None:
            load_strict(part, files, layouts, dtype=dtype)
    _start_the_rest(model, dtype)
    join(config, made := _tokenizer(tokenizer))
    model.fit_vocabulary(max(len(made), config.text_config.vocab_size))
    if lora is not None:
        model.add_lora(**lora)
    model.freeze()
    return model, VmadProcessor(config, made)


def _llava_table(config: VmadConfig) -> Table:
    if config.projector != "ltc":
        return llava_keys.PUBLISHED
    if config.ltc_init == "warm":
        return llava_keys.INTO_LTC
    return {**llava_keys.PUBLISHED, "model.mm_projector.{rest}": None}  # the new projector is trained instead


def _start_the_rest(model: VmadModel, dtype: torch.dtype) -> None:
    """Make anew each part that has weights without memory; a part that is half loaded keeps what was loaded."""
    config = model.config
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "vision_tower": lambda: CLIPVisionModel(config.vision_config),
        "projector": lambda: projector.build(config),
        "language_model": lambda: AutoModelForCausalLM.from_config(config.text_config),
        "visual_model": lambda: visual(config),
        "text_hidden_fcs": lambda: mask_prompt(config.text_config.hidden_size, config.visual_channels),
        "dssl": lambda: Dssl(config),
    }
    for name, make in makers.items():
        part = getattr(model, name)
        if part is None or not any(one.is_meta for one in part.parameters()):
            continue
        fresh = make().to(dtype)
        kept = {key: value for key, value in part.state_dict().items() if not value.is_meta}
        fresh.load_state_dict(kept, strict=False)
        setattr(model, name, fresh)


def _tokenizer(folder: str | Path) -> Any:
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(str(locate(folder)), local_files_only=True)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise UsageError(f"{folder} holds no tokenizer that can be read ({error})") from error


def kind_of(folder: Path) -> str:
    """Return "vmad" for a folder that was saved here, "lisa" for one of LISA's; raises BadCheckpoint for another."""
    raw = _json(folder)
    if raw.get("model_type") == "vmad":
        return "vmad"
    if "train_mask_decoder" in raw and "mm_vision_tower" in raw:
        return "lisa"
    raise BadCheckpoint(f"{folder}/config.json is of '{raw.get('model_type')}', neither VMAD's nor LISA's")


def _json(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{folder} has no config.json that can be read ({error})") from error
    if not isinstance(raw, dict):
        raise BadCheckpoint(f"{folder}/config.json is not a configuration")
    return raw


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and remarks of transformers where a few seconds pass."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
