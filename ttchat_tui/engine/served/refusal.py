"""Parsing of refusals: which fields, values, message role or streaming mode of a request a server rejects. Pure.

Servers name a field in `error.param` (OpenAI, Azure), in `detail[].loc` (FastAPI: vLLM, Mistral, SGLang), or in words
(llama.cpp, TGI, Groq, xAI, Anthropic, DeepSeek, Gemini, LiteLLM …), in quotes, in camel case or bare.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.served.loose_json import decoded

_ECHOES: Final = frozenset({"input", "body", "request", "request_id", "url", "doc_url"})
"""Keys under which servers repeat the request: a conversation may hold any word."""
_NAMING: Final = frozenset({"param", "params", "loc", "field", "parameter", "parameters"})
_DEEPEST: Final = 12
"""Levels of an error's body that are read."""

_UNKNOWN: Final = re.compile(
    r"extra[\s_](?:inputs?|fields?|forbidden|keys?)|extraneous|unknown|unrecogni[sz]ed|unexpected|additional propert"
    r"|not permitted|not allowed|unsupported|(?:not|n't|no longer) supported|(?:not|n't) support|deprecated"
    r"|only the default|only \S+ is allowed|not enabled|cannot find field|not available|disabled|is not valid for"
    r"|not compatible|incompatible",
    re.IGNORECASE,
)
_OF_VALUE: Final = re.compile(
    r"must be|should be|out of range|\brange\b|mismatch|greater|less than|positive|between|too (?:large|high|big)"
    r"|too (?:small|low)|at most|at least|exceed|[<>≤≥]|invalid value|cannot unmarshal",
    re.IGNORECASE,
)
_ONE_OF_TWO: Final = re.compile(
    r"\bboth\b|only one|either|simultaneous|same time|together|mutually", re.IGNORECASE
)
_NO_STREAM: Final = re.compile(
    r"verified to stream|stream(?:ing)?\b[^.]{0,60}(?:\bnot\b|n't|unsupported|disabled|must be false|unavailable)"
    r"|(?:\bnot\b|n't|unsupported|disabled|without)[^.]{0,40}\bstream(?:ing)?\b",
    re.IGNORECASE,
)
_ROLE: Final = re.compile(
    r"\b(?:system|developer)\b[^.\n]{0,80}(?:\bnot\b|n't|\bun\w+|only|invalid|must|forbidden)"
    r"|(?:\bnot\b|n't|\bun\w+|invalid|only|no)\b[^.\n]{0,80}\b(?:system|developer)\b"
    r"|only (?:the )?['\"`]?user\b[^.\n]{0,20}\bassistant|should be ['\"`]?(?:user|assistant)['\"`]? or"
    r"|roles must alternate",
    re.IGNORECASE,
)
_CEILING: Final = re.compile(
    r"(?:at most|less than or equal(?: to)?|<=|≤|no (?:more|greater|larger|higher) than|up to|(?:not|n't) exceed"
    r"|max(?:imum)?(?: \w+){0,5}?(?: is| of|:)|limit(?: \w+){0,3}?(?: is| of|:)|exceeds?(?: \w+){0,4}?"
    r"|between -?[\d.]+ (?:and|to)|range:? -?\d+(?:\.\d+)? ?(?:\.\.|-|to)|[\[(]\s*-?[\d.]+\s*,"
    r"|(?:(?<=\d)|(?<=\d\s))>)\s*[`'\"(]*(\d[\d,]*(?:\.\d+)?)",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\w-])")
_PENALTY: Final = re.compile(r"\bpenalt(?:y|ies)\b", re.IGNORECASE)
_WORDS: Final = frozenset({"stop", "stream", "seed"})
"""Fields whose names are ordinary words: without quotes they count only beside a word like `parameter`."""


class Refusal(msgspec.Struct, frozen=True):
    """One parsed refusal."""

    text: str
    """All its text, one string per line."""
    named: tuple[str, ...]
    """Places of the request that it names in a field of its own: `temperature`, `messages[0].role`."""

    def fields(self, sent: Collection[str]) -> tuple[str, ...]:
        """Those of the fields `sent` that it rejects."""
        found = [name for name in sent if any(_is_named(name, place) for place in self.named)]
        if found:
            return tuple(found)
        quoted = [name for name in sent if _quoted(name).search(self.text)]
        if quoted or not (self.names_unknown_field or self.names_bad_value or self.names_conflict):
            return tuple(quoted)
        bare = [name for name in sent if _bare(name).search(self.text)]
        if not bare and _PENALTY.search(self.text):
            bare = [name for name in sent if name.endswith("_penalty")]
        return tuple(bare)

    @property
    def names_unknown_field(self) -> bool:
        """It rejects a field, whatever its value."""
        return _UNKNOWN.search(self.text) is not None

    @property
    def names_bad_value(self) -> bool:
        """It rejects a value; another one might be accepted."""
        return _OF_VALUE.search(self.text) is not None

    @property
    def names_conflict(self) -> bool:
        """It rejects two fields together."""
        return _ONE_OF_TWO.search(self.text) is not None

    @property
    def names_stream(self) -> bool:
        return any(_is_named("stream", place) for place in self.named) or bool(_NO_STREAM.search(self.text))

    @property
    def names_role(self) -> bool:
        """It rejects the role of the system prompt."""
        is_placed = any(place.startswith("messages") and place.endswith("role") for place in self.named)
        return is_placed or _ROLE.search(self.text) is not None

    def ceiling(self, value: float) -> float | None:
        """The largest accepted value that it names, below `value`; None if it names none."""
        below = [number for number in map(_number, _CEILING.findall(self.text)) if 0 < number < value]
        return max(below, default=None)

    def number_below(self, value: int) -> int | None:
        """The largest whole number in it below `value`, for limits in a wording that is not known."""
        below = [n for n in map(_number, _NUMBER.findall(self.text)) if 1 < n < value and n == int(n)]
        return int(max(below)) if below else None


def parse_refusal(body: bytes) -> Refusal:
    """Read a refusal's body, JSON or text."""
    try:
        found = decoded(body)
    except ValueError:
        return Refusal(body.decode("utf-8", "replace"), ())
    words, places = list[str](), list[str]()
    for is_place, said in _said(found, 0):
        (places if is_place else words).append(said)
    return Refusal("\n".join(words), tuple(places))


def _said(found: Any, depth: int) -> Iterator[tuple[bool, str]]:
    """Every string in `found`, and whether it names a place in the request."""
    if depth > _DEEPEST:
        return
    if isinstance(found, str):
        yield False, found
        if found.lstrip()[:1] in ("{", "["):  # a gateway hands on what the server behind it said
            try:
                yield from _said(decoded(found), depth + 1)
            except ValueError:
                pass
    elif isinstance(found, list):
        for part in cast("list[Any]", found):
            yield from _said(part, depth + 1)
    elif isinstance(found, dict):
        for key, part in cast("dict[str, Any]", found).items():
            if key in _NAMING:
                yield from ((True, place) for place in _places(part))
            elif key not in _ECHOES:
                yield from _said(part, depth + 1)


def _places(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    if not isinstance(found, list):
        return []
    parts = cast("list[Any]", found)
    if parts and parts[0] == "body":  # FastAPI: ["body", "messages", 0, "role"]
        return [".".join(str(part) for part in parts[1:])]
    return [part for part in parts if isinstance(part, str)]


def _is_named(name: str, place: str) -> bool:
    """`continuous_usage_stats` lies within `stream_options`; a gateway may write the path to a field."""
    parts = re.split(r"[.\[\]]+", place)
    return bool({name, _camel(name)} & {parts[0], *(parts if parts[0] != "messages" else ())})


def _quoted(name: str) -> re.Pattern[str]:
    return re.compile(rf"""['"`‘“\[]/?(?:{name}|{_camel(name)})['"`’”\]]""")


def _bare(name: str) -> re.Pattern[str]:
    if name in _WORDS:
        before = r"(?:parameters?|arguments?|fields?|propert(?:y|ies)|keys?|names?|inputs?|supports?)[\s:,=]+"
        after = r"\s*(?::|(?:parameter|sequences?|strings?|is|are|not|must|should)\b)"
        return re.compile(
            rf"{before}{name}\b|\bfield \w+\.{name}\b|(?:^|\n){name}\s*:|:\s*{name}\s*(?:$|\n)|\b{name}{after}",
            re.IGNORECASE,
        )
    spaced = name.replace("_", "[_ -]?").replace("max", "max(?:imum)?", 1)
    return re.compile(rf"(?<![\w-]){spaced}(?![\w-])", re.IGNORECASE)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _number(text: str) -> float:
    number = float(text.replace(",", ""))
    return int(number) if number == int(number) else number
