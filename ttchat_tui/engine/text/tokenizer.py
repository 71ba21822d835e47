"""Chat tokenizer: control tokens only where a piece says so, never from plain text; ids decode through their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias, cast

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import DecodeStream

from ttchat_tui.domain import logit_bias
from ttchat_tui.domain.thoughts import thought_tag
from ttchat_tui.engine.text.end_of_turn import control_texts
from ttchat_tui.engine.text.end_of_turn import end_ids as ends_of
from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.text_stream import IncrementalDecoder, Utf8Decoder

Spelling: TypeAlias = Literal["byte-level", "sentencepiece", "opaque"]
"""How the vocabulary writes tokens: GPT-2's printable bytes; "▁" for a space and <0xNN> for a byte; or in a way that only
the tokenizer's own decoder knows."""

_CHANNELS: Final = frozenset({"<|start|>", "<|channel|>", "<|message|>", "<|end|>"})
"""Control tokens of gpt-oss that separate thoughts from answers (OpenAI's harmony format). A turn has several messages,
and `<|end|>` ends only one of them."""

_REMEMBERED: Final = 32_768
"""Texts between control tokens whose ids are remembered: the messages of a long conversation, which is counted again and
again."""
_LONG: Final = 100_000
"""Characters; encoding this many takes about 0.1 s."""

_REPLACEMENT: Final = "\ufffd"

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class ChatTokenizer:
    """A `tokenizers.Tokenizer` for chats. A `PieceEncoder`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        end_ids: Collection[int] = (),
        beginning: Sequence[int] | None = None,
        controls: Collection[str] = (),
    ) -> None:
        """
        Args:
            end_ids: ends of turn or text in the model's metadata. Those that `end_of_turn` knows are added.
            beginning: ids before every text; None: those that the tokenizer itself puts there.
            controls: added tokens that are control tokens, whatever the vocabulary says.
        """
        self.beginning = tuple(_beginning(tokenizer) if beginning is None else beginning)
        # The text of a control token inside plain text is encoded as text: only pieces make control tokens.
        tokenizer.encode_special_tokens = True
        _mark_controls(tokenizer, end_ids, controls)
        self._tokenizer = tokenizer
        self._inner = _without_first_prefix(tokenizer)
        self._spelling: Spelling = spelling_of(tokenizer)
        self._drops_first_space = _drops_first_space(tokenizer)
        self._added: dict[int, AddedToken] = dict(tokenizer.get_added_tokens_decoder())
        self._controls = {token.content: i for i, token in self._added.items() if token.special}
        has_channels = self._controls.keys() >= _CHANNELS
        self._shown = _CHANNELS if has_channels else frozenset[str]()
        self._named_ends = end_ids
        self.end_ids = ends_of(end_ids, {token.content: i for i, token in self._added.items()})
        self._encode_text: Callable[[str, bool], tuple[int, ...]] = lru_cache(_REMEMBERED)(self._encode_anew)
        self._bytes: dict[int, bytes] = {}
        texts = {token_id: self.token_bytes(token_id) for token_id in self.control_ids}
        self.control_texts: Mapping[int, bytes] = {
            token_id: text for token_id, text in texts.items() if text != self.piece_of(token_id)
        }
        """What each control token adds to a reply's text, where that is not its name: nothing, or the tag of a thought."""

    @property
    def controls(self) -> Collection[str]:
        """The text of every control token."""
        return self._controls.keys()

    @property
    def matched(self) -> Collection[str]:
        """The added tokens that plain text is searched for. A user who types one sends the token."""
        return {token.content for token in self._added.values() if not token.special}

    def with_controls(self, texts: Collection[str]) -> ChatTokenizer:
        """The same tokenizer, to which these of `matched` are control tokens. This one is not to be used any more."""
        return ChatTokenizer(self._tokenizer, self._named_ends, self.beginning, texts)

    @property
    def control_ids(self) -> Collection[int]:
        return self._controls.values()

    @property
    def has_bytes(self) -> bool:
        """Whether the bytes of single tokens are known (`piece_of`)."""
        return self._spelling != "opaque"

    @property
    def size(self) -> int:
        """Number of tokens, control tokens included; the model's logits may have more, which are padding."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def first_beyond(self, rows: int) -> str:
        """The first token whose id is `rows` or more, with its id; empty if there is none."""
        if self._tokenizer.get_vocab_size(with_added_tokens=False) > rows:
            found = rows
        else:
            found = min((each for each in self._added if each >= rows), default=None)
        return "" if found is None else f"{self._tokenizer.id_to_token(found)!r} ({found:,})"

    def encode_text(self, text: str) -> Sequence[int]:
        """The ids of a text that continues another one."""
        return self._encode_text(text, False)

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        """The ids of each piece from `pieces[start]` on, as encoding the whole text at once would give them."""
        return [self._encode_piece(pieces, index) for index in range(start, len(pieces))]

    def new_decoder(self, *, is_start: bool) -> IncrementalDecoder:
        """A decoder for one reply. `is_start`: the ids start a reply rather than continue a text."""
        if self._spelling == "opaque":
            return _OpaqueDecoder(self._tokenizer)
        return Utf8Decoder(self.token_bytes, strip_leading_space=is_start and self._drops_first_space)

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of a token; b"" for unknown ids and for control tokens, except those that mark a thought."""
        known = self._bytes.get(token_id)
        if known is None:
            known = self._bytes[token_id] = self._spell(token_id)
        return known

    def piece_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes of a token; of a control token its name."""
        added = self._added.get(token_id)
        return self.token_bytes(token_id) if added is None else added.content.encode()

    def ids_of(self, text: str) -> tuple[int, ...]:
        """The tokens whose text is exactly this (`domain/logit_bias.py`): usually one; none for a text of several tokens."""
        piece = logit_bias.piece_of(text)
        names = [text, *_spelled(piece, self._spelling)]
        found = (self._tokenizer.token_to_id(name) for name in dict.fromkeys(names))
        return tuple(each for each in found if each is not None and self.piece_of(each) == piece)

    def _encode_piece(self, pieces: Sequence[PromptPiece], index: int) -> tuple[int, ...]:
        text, is_control = pieces[index]
        if is_control:
            return (self._controls[text],)
        # Some control tokens strip the white space next to them.
        if index > 0 and self._swallows(pieces[index - 1], "rstrip"):
            text = text.lstrip()
        if index + 1 < len(pieces) and self._swallows(pieces[index + 1], "lstrip"):
            text = text.rstrip()
        return self._encode_text(text, index == 0)

    def _swallows(self, piece: PromptPiece, side: Literal["lstrip", "rstrip"]) -> bool:
        return piece.is_control and bool(getattr(self._added[self._controls[piece.text]], side))

    def _encode_anew(self, text: str, is_first: bool) -> tuple[int, ...]:
        tokenizer = self._tokenizer if is_first else self._inner
        if len(text) < _LONG:
            return tuple(tokenizer.encode(text, add_special_tokens=False).ids)
        # encode_batch releases the GIL, so the heartbeat thread keeps running.
        (encoding,) = tokenizer.encode_batch([text], add_special_tokens=False)
        return tuple(encoding.ids)

    def _spell(self, token_id: int) -> bytes:
        added = self._added.get(token_id)
        if added is not None:
            is_text = not added.special or added.content in self._shown
            return (added.content if is_text else thought_tag(added.content)).encode()
        token = self._tokenizer.id_to_token(token_id)
        if token is None:  # pyright: ignore[reportUnnecessaryComparison] - the stub forgets unknown ids
            return b""
        if self._spelling == "byte-level":
            return bytes(_BYTE_OF[char] for char in token if char in _BYTE_OF)
        byte = _BYTE_TOKEN.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()


def _spelled(piece: bytes, spelling: Spelling) -> tuple[str, ...]:
    """How a vocabulary may write these bytes."""
    if spelling == "byte-level":
        return ("".join(_CHAR_OF[byte] for byte in piece),)
    byte = f"<0x{piece[0]:02X}>" if len(piece) == 1 else ""
    return (piece.decode("utf-8", "replace").replace(" ", "▁"), byte)


class _OpaqueDecoder:
    """tokenizers' own incremental decoder, for vocabularies with an unknown spelling."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._length = 0

    def push(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._stream.step(self._tokenizer, token_id) or ""
        self._length += len(text)
        return text

    def flush(self) -> str:
        return self._rest().rstrip(_REPLACEMENT)

    @property
    def is_whole(self) -> bool:
        return not self._rest().endswith(_REPLACEMENT)

    def save(self) -> object:
        return len(self._ids)

    def restore(self, state: Any) -> None:
        ids = self._ids[:state]
        self._stream, self._ids, self._length = DecodeStream(skip_special_tokens=True), [], 0
        for token_id in ids:
            self.push(token_id)

    def _rest(self) -> str:
        """Text that `push` has not returned; an incomplete character is U+FFFD in it."""
        return self._tokenizer.decode(self._ids, skip_special_tokens=True)[self._length :]


def _mark_controls(tokenizer: Tokenizer, end_ids: Collection[int], also: Collection[str]) -> None:
    """Make control tokens of added tokens that end a turn or are known as ones, whatever their file says."""
    added = tokenizer.get_added_tokens_decoder()
    ends = {token.content for token_id, token in added.items() if token_id in end_ids}
    controls = control_texts({token.content for token in added.values()}).union(ends, also)
    mistyped = [token for token in added.values() if not token.special and token.content in controls]
    for token in mistyped:
        token.special = True
    adder: Any = tokenizer  # The package's stubs do not type the list's items.
    adder.add_special_tokens(mistyped)


def _beginning(tokenizer: Tokenizer) -> list[int]:
    encoding = tokenizer.encode("a")
    return [
        token_id
        for token_id, _ in takewhile(
            itemgetter(1), zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        )
    ]


def spelling_of(tokenizer: Tokenizer) -> Spelling:
    """The spelling that the tokenizer's decoder implies."""
    kinds = {part["type"] for part in _parts(tokenizer.decoder, "decoders")}
    if "ByteLevel" in kinds:
        return "byte-level"
    return "sentencepiece" if kinds & {"ByteFallback", "Metaspace"} else "opaque"


def _drops_first_space(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer's own decoder takes a space from the beginning of a text, because encoding puts one there: Llama 2
    does, Gemma does not."""
    return any(
        (part["type"] == "Strip" and part["content"] == " " and part["start"] > 0)
        or (part["type"] == "Metaspace" and part.get("prepend_scheme", "always") != "never")
        for part in _parts(tokenizer.decoder, "decoders")
    )


def _without_first_prefix(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer for pieces after the first: it does not prepend the "▁" that starts the whole text."""
    if not any(map(_is_first_prefix, _parts(tokenizer.pre_tokenizer, "pretokenizers"))):
        return tokenizer
    data = json.loads(tokenizer.to_str())
    step = data["pre_tokenizer"]
    for part in step["pretokenizers"] if step["type"] == "Sequence" else [step]:
        if _is_first_prefix(part):
            part["prepend_scheme"] = "never"
    inner = Tokenizer.from_str(json.dumps(data))
    inner.encode_special_tokens = True
    return inner


def _is_first_prefix(part: Mapping[str, Any]) -> bool:
    return part["type"] == "Metaspace" and part.get("prepend_scheme") == "first"


def _parts(step: Any, key: str) -> list[dict[str, Any]]:
    """The members of a processing step, or the step itself if it is not a sequence.

    Read from its pickled state, which is JSON: the steps have no other interface, and the JSON of the whole tokenizer
    includes the vocabulary (0.1 to 0.4 s).
    """
    if step is None:
        return []
    data: Any = json.loads(step.__getstate__())
    return cast(list[dict[str, Any]], data[key] if data["type"] == "Sequence" else [data])


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable characters for the 256 bytes (`bytes_to_unicode` in openai/gpt-2, src/encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF: Final = _byte_alphabet()
_CHAR_OF: Final = {byte: char for char, byte in _BYTE_OF.items()}
