"""Token counts of prompts, by a local copy of the served model's tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_text_part import text_part
from ttchat_tui.engine.text.bias_ids import BiasIds
from ttchat_tui.engine.text.chat_text import chat_text
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder
from ttchat_tui.engine.text.tokenizer_gguf import template_from_gguf, tokenizer_from_gguf


class LocalCounter:
    """A `TokenCounter`: counts a prompt as the server does, if it has the same template."""

    def __init__(self, path: Path) -> None:
        """`path`: a folder with tokenizer.json, or a .gguf file.

        Raises:
            EngineError: `path` cannot be read, or its template is invalid.
        """
        self._tokenizer, self._template = chat_text(
            *(_from_gguf(path) if path.is_file() else _from_folder(path))
        )
        self._bias_ids = BiasIds(self._tokenizer)
        self.has_template = not self._template.is_fallback

    def bias_ids(self, bias: Mapping[str, float]) -> dict[int, float]:
        """Raises NoSingleToken."""
        return self._bias_ids.require(bias)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """
        Raises:
            TemplateError: the template rejects these messages.
        """
        return sum(map(len, self._tokenizer.encode_pieces(self._template.pieces(messages))))


def _from_folder(folder: Path) -> tuple[ChatTokenizer, TemplateData]:
    return tokenizer_from_folder(folder), template_from_folder(folder)


def _from_gguf(path: Path) -> tuple[ChatTokenizer, TemplateData]:
    file = GgufContainer(path)
    try:
        metadata = text_part(file).metadata
        return tokenizer_from_gguf(metadata), template_from_gguf(metadata)
    finally:
        file.data.close()
