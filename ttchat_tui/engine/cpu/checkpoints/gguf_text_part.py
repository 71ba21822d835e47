"""The text part of a GGUF file, in the form of llama.cpp's converter.

Ollama's converter writes a model that sees images into one file, and some hyperparameters in forms of its own. Sources: its
convert/convert_*.go, and llama/compat/llama-ollama-compat.cpp, which turns such files into llama.cpp's form. Prefixes of tensors:
`TN_*` in llama.cpp's tools/mtmd/clip-impl.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from ttchat_tui.domain.model_files import gguf_that_is_no_model
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer, TensorEntry

_TENSORS: Final = re.compile(r"((v|a|mm|resampler)|(model\.)?vision_tower)\..+")
"""Encoders of images and sound, and projectors to the hidden size of the text model."""
_KEYS: Final = re.compile(
    r"(vision|audio|mm)\..+|(image|video|audio|vision)_(\w+_)?token_(id|index)|spatial_merge_size"
)
"""Their hyperparameters, without the architecture before them, and the ids that stand for their outputs."""
_LISTS: Final = ("tokens", "scores", "token_type")
_EPSILON: Final = "attention.layer_norm_rms_epsilon"
"""llama.cpp reads no file without it."""


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    """How Ollama's files of one architecture differ."""

    renamed: Mapping[str, str] = {}
    """Its key → llama.cpp's, without the architecture before them."""
    left_out: Mapping[str, Any] = {}
    """What its engine takes where a file says nothing."""
    left_out_if_long: Mapping[str, Any] = {}
    """The same with a context of `_LONG` tokens or more."""
    splits: str = ""
    """`tokenizer.ggml.pre` of files that name none, or the default."""
    template: str = ""
    """The chat template of files without one: Ollama keeps its own beside the file, in another language."""


_LONG: Final = 131_072
_GEMMA_TURNS: Final = r"""
{{- bos_token }}{% set part = namespace(system='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set part.system = message.content | trim ~ '\n\n' %}
    {%- else %}
        {{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else 'user') ~ '\n' }}
        {{- part.system ~ message.content | trim ~ '<end_of_turn>\n' }}
        {%- set part.system = '' %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif -%}
"""
"""Gemma has no turn for a system prompt: it begins the first message."""
_FORMS: Final = {
    "gemma3": _Form(
        renamed={"rope.global.freq_base": "rope.freq_base", "rope.local.freq_base": "rope.freq_base_swa"},
        left_out={_EPSILON: 1e-6, "rope.freq_base": 1e6, "rope.freq_base_swa": 1e4},
        # 4B, 12B and 27B; the context of the smaller ones is 32,768, and they are not stretched.
        left_out_if_long={"rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
        template=_GEMMA_TURNS,
    ),
    "mistral3": _Form(
        renamed={
            "rope.scaling.beta_fast": "rope.scaling.yarn_beta_fast",
            "rope.scaling.beta_slow": "rope.scaling.yarn_beta_slow",
            "rope.scaling.mscale_all_dim": "rope.scaling.yarn_log_multiplier",
            "rope.scaling_beta": "attention.temperature_scale",
        },
        splits="tekken",
    ),
    "qwen25vl": _Form(renamed={"rope.mrope_section": "rope.dimension_sections"}),
}
"""By architecture, of those that we run."""


class TextModel(NamedTuple):
    """What of a file the text model has."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorEntry]
    is_alone: bool
    """The file has no other part."""


def text_part(file: GgufContainer) -> TextModel:
    """
    Raises:
        ModelLoadError: the file has tensors, but none of a text model.
    """
    prefix = f"{file.metadata.get('general.architecture', '')}."
    tensors = {name: entry for name, entry in file.tensors.items() if not _TENSORS.fullmatch(name)}
    if file.tensors and not tensors:
        raise ModelLoadError(
            f"This GGUF file is {gguf_that_is_no_model('mmproj', '')}.", "Choose the file of a chat model."
        )
    metadata = {
        key: value
        for key, value in file.metadata.items()
        if not (key.startswith(prefix) and _KEYS.fullmatch(key.removeprefix(prefix)))
    }
    has_more = len(tensors) + len(metadata) < len(file.tensors) + len(file.metadata)
    form = _FORMS.get(prefix[:-1])
    if form is not None and (has_more or _is_in_form(form, metadata, prefix)):
        metadata = _in_usual_form(form, metadata, prefix)
    if has_more:
        _cut_vocabulary(metadata, tensors.get("token_embd.weight"))
    return TextModel(metadata, tensors, is_alone=len(tensors) == len(file.tensors))


def _is_in_form(form: _Form, metadata: Mapping[str, Any], prefix: str) -> bool:
    """Whether a file without another part is by Ollama's converter."""
    is_short = _EPSILON in form.left_out and prefix + _EPSILON not in metadata
    return is_short or any(prefix + key in metadata for key in form.renamed)


def _in_usual_form(form: _Form, metadata: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A key whose usual name is there too keeps its own, so that it is refused."""
    names = {prefix + theirs: prefix + usual for theirs, usual in form.renamed.items()}
    found = {
        key if names.get(key, key) in metadata else names.get(key, key): value
        for key, value in metadata.items()
    }
    context = found.get(f"{prefix}context_length", 0)
    is_long = isinstance(context, int) and context >= _LONG
    for key, value in {**form.left_out, **(form.left_out_if_long if is_long else {})}.items():
        found.setdefault(prefix + key, value)
    if form.splits and found.get("tokenizer.ggml.pre", "") in ("", "default"):
        found["tokenizer.ggml.pre"] = form.splits
    if form.template and not any(key.startswith("tokenizer.chat_template") for key in found):
        found["tokenizer.chat_template"] = form.template
    return found


def _cut_vocabulary(metadata: dict[str, Any], embedding: TensorEntry | None) -> None:
    """Drop tokens without a row in the embedding: they stand for images, such as `<image_soft_token>`."""
    rows = embedding.shape[0] if embedding is not None and embedding.shape else 0
    for key in (f"tokenizer.ggml.{name}" for name in _LISTS):
        values = metadata.get(key)
        if rows and isinstance(values, list):
            metadata[key] = cast(list[Any], values)[:rows]
