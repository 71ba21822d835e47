"""Chat templates: messages rendered into prompt pieces, and the choice of messages that fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from ttchat_tui.domain.chat import ChatMessage, loose_turns
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import TemplateValue
from ttchat_tui.domain.sampling import Thinking
from ttchat_tui.engine.base import PromptTooLong
from ttchat_tui.engine.text.template_probe import TemplateMessage, as_parts, probe
from ttchat_tui.engine.text.template_process import TemplateError, TemplateRefusal, render, variables_of
from ttchat_tui.engine.text.thinking import arguments_of, levels_of

PLAIN_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}User: {{ message.content }}\n"
    "{% else %}Assistant: {{ message.content }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models without a chat template. Base models continue such a script well enough."""

PLAIN_STOP: Final = ("\nUser:",)
"""Ends a reply under `PLAIN_TEMPLATE`: the model would continue with the user's next line."""

_PRIVATE_USE: Final = range(0xF0000, 0xFFFFE)
"""Unicode's supplementary private use area A: characters without a meaning in text."""


class PromptPiece(NamedTuple):
    """A part of the prompt: one control token, or the text between two."""

    text: str
    is_control: bool


class TemplateData(msgspec.Struct, frozen=True, kw_only=True):
    """What the chat template needs from the model file."""

    source: str = ""
    """Jinja; empty if the model has no template."""
    special: Mapping[str, str] = {}
    """`bos_token`, `eos_token` … as text."""


class ChatTemplate:
    """A model's Jinja chat template, rendered as transformers' `apply_chat_template` renders it.

    Control tokens come only from the template. Before rendering, each control token inside a message's content is
    replaced by a private-use character; it is put back as ordinary text after the rendered text has been split at control
    tokens. Because only those strings are hidden, the template can still trim, test and split contents.
    """

    def __init__(
        self,
        source: str,
        special: Mapping[str, str],
        controls: Collection[str],
        options: Mapping[str, TemplateValue] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            source: Jinja source; empty for `PLAIN_TEMPLATE`.
            special: tokens that templates read by name: `bos_token`, `eos_token` …
            controls: the text of every token that only the template may produce.
            options: further variables; arguments of a rendering come before them.
        Raises:
            TemplateError: the template is not valid Jinja, or does not end.
        """
        self.is_fallback = not source
        self.stop: tuple[str, ...] = PLAIN_STOP if self.is_fallback else ()
        self._source = source or PLAIN_TEMPLATE
        self._special = {"bos_token": "", "eos_token": "", **special}
        self._options = options
        # Longest first: an alternation takes the first that matches, tokenizers take the longest.
        longest_first = sorted(filter(None, controls), key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._variables = variables_of(self._source)
        self.thinking = levels_of(self._variables)
        """What of `SamplingParams.thinking` it understands."""
        self._tools: list[str] | None = None
        self._form = probe(self._run)
        if not self._form.shown:  # Some templates for tools iterate over them unasked.
            self._tools = []
            self._form = probe(self._run)
        self.has_system_role = "system" in self._form.shown

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        thinking: Thinking = "auto",
    ) -> str:
        """The prompt as text. With `continue_last` it ends inside the last message.

        Raises:
            TemplateError: the template refuses these messages.
        """
        pieces = self.pieces(
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_last=continue_last,
            thinking=thinking,
        )
        return "".join(piece.text for piece in pieces)

    def pieces(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        continue_last: bool = False,
        thinking: Thinking = "auto",
    ) -> tuple[PromptPiece, ...]:
        """The prompt, split at control tokens. Empty pieces are left out.

        Raises:
            TemplateError: the template refuses these messages.
        """
        if not self.has_system_role:
            messages = merge_system(messages)
        texts = [text for message in messages for text in (message.content, message.reasoning_content)]
        hidden = _Hidden(self._controls, self._source, texts)
        dicts = [_as_dict(message, hidden) for message in messages]
        if continue_last:
            dicts[-1]["content"] += hidden.end_mark + " "
        arguments = arguments_of(thinking, self._variables)
        for message in dicts:
            if message["role"] in self._form.typed:
                message["content"] = as_parts(message["content"])
        text = self._run(dicts, add_generation_prompt and not continue_last, arguments)
        if continue_last:
            text = _cut_at(text, hidden.end_mark)
        return tuple(self._split(text, hidden))

    def _split(self, text: str, hidden: _Hidden) -> list[PromptPiece]:
        pieces: list[PromptPiece] = []
        position = 0
        for match in self._controls.finditer(text):
            if match.start() > position:
                pieces.append(PromptPiece(hidden.reveal(text[position : match.start()]), False))
            pieces.append(PromptPiece(match.group(), True))
            position = match.end()
        if position < len(text):
            pieces.append(PromptPiece(hidden.reveal(text[position:]), False))
        return pieces

    def _run(
        self,
        messages: Sequence[TemplateMessage],
        add_generation_prompt: bool = True,
        arguments: Mapping[str, bool | str] = MappingProxyType({}),
    ) -> str:
        variables = {
            **self._options,
            "messages": messages,
            "tools": self._tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self._special,
            **arguments,
        }
        return render(self._source, variables)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about it, in sentences."""
        if self.is_fallback:
            return ("The model has no chat template: turns are written as “User:” and “Assistant:” lines.",)
        notes: list[str] = []
        if "user" in self._form.lost:
            notes.append(f"{self._why_lost()} Another file of the model may have another template.")
        elif "assistant" in self._form.lost:
            notes.append("The model's chat template leaves out earlier replies: the model does not see them.")
        if not self.has_system_role:
            notes.append(
                "The model's template has no system role: the system prompt is put before the first message."
            )
        unread = [name for name in self._options if name not in self._variables]
        if unread:
            notes.append(
                f"The model's chat template does not read {', '.join(unread)} "
                f"({setting('model.template_options')})."
            )
        return tuple(notes)

    def _why_lost(self) -> str:
        """Why what the user says does not reach the model, as a sentence."""
        try:
            self._run([{"role": "user", "content": "a"}])
        except TemplateRefusal as refusal:
            return f"{str(refusal).rstrip('.')}. It does so for every conversation."
        return "The model's chat template leaves out what the user says, in every form that is known: the model does not see it."


class _Hidden:
    """Stand-ins for control tokens inside contents, for one rendering."""

    def __init__(self, controls: re.Pattern[str], source: str, contents: Sequence[str]) -> None:
        taken = set(source).union(*contents)
        free = (char for char in map(chr, _PRIVATE_USE) if char not in taken)
        found = sorted({match.group() for content in contents for match in controls.finditer(content)})
        self.end_mark = next(free)
        """Marks where a continued message ends: a character that no content has."""
        self._controls = controls
        self._stand_in = dict(zip(found, islice(free, len(found)), strict=True))
        self._back = str.maketrans({char: text for text, char in self._stand_in.items()})

    def hide(self, content: str) -> str:
        return self._controls.sub(lambda match: self._stand_in[match.group()], content)

    def reveal(self, text: str) -> str:
        return text.translate(self._back)


def _as_dict(message: ChatMessage, hidden: _Hidden) -> TemplateMessage:
    """The message as a template reads it. Thoughts have two names: `thinking` is gpt-oss's."""
    found: TemplateMessage = {"role": message.role, "content": hidden.hide(message.content)}
    if message.reasoning_content:
        found["reasoning_content"] = found["thinking"] = hidden.hide(message.reasoning_content)
    return found


def merge_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Put the system prompt at the start of the first user message, for templates without a system role."""
    if not messages or messages[0].role != "system":
        return list(messages)
    system, rest = messages[0], list(messages[1:])
    for index, message in enumerate(rest):
        if message.role == "user":
            rest[index] = ChatMessage("user", f"{system.content}\n\n{message.content}")
            return rest
    return [ChatMessage("user", system.content), *rest]


class FittedMessages(msgspec.Struct, frozen=True):
    """The messages that a prompt keeps."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    """Length of the prompt, template included."""
    fallen: tuple[int, ...] = ()
    """Positions of the messages that were left out."""
    keep: tuple[int, ...] = ()
    """Positions of the kept messages in `messages`."""

    @property
    def dropped(self) -> int:
        return len(self.fallen)


def fit(
    messages: Sequence[ChatMessage],
    count: Callable[[Sequence[ChatMessage]], int],
    limit: int,
    reserve: int,
    keep: Collection[int] = (),
) -> FittedMessages:
    """As `shorten`, for a prompt that needs room for a reply.

    Raises:
        PromptTooLong: the messages that must stay take `limit` tokens or more, which leaves no room for a reply.
    """
    fitted = shorten(messages, count, limit - reserve, keep)
    if fitted.tokens >= limit:
        others = "system prompt, kept messages and" if fitted.keep else "system prompt and"
        raise PromptTooLong(
            f"With {others} chat template this message takes {fitted.tokens:,} tokens; the context holds "
            f"{limit:,}, reply included.",
            f"Shorten the message or the system prompt, {'keep fewer messages, ' * bool(fitted.keep)}or load a model with a longer "
            f"context; {setting('model.context_length')} limits it where it is set.",
        )
    return fitted


def shorten(
    messages: Sequence[ChatMessage],
    count: Callable[[Sequence[ChatMessage]], int],
    budget: int,
    keep: Collection[int] = (),
) -> FittedMessages:
    """Drop as few of the oldest turns as needed for the prompt to take at most `budget` tokens.

    Only whole turns are dropped, so that roles keep taking turns and the first message kept is a user's. The system prompt
    stays, and so does everything from the last user message on, and each turn with a kept message. If the prompt cannot
    be made to fit, everything that may be dropped is.

    Args:
        count: tokens of some messages, template included; must not grow when messages are dropped.
        keep: positions in `messages`.
    """
    keep = frozenset(keep)
    total = count(messages)
    everything = FittedMessages(tuple(messages), total, keep=tuple(sorted(keep)))
    loose = loose_turns(messages, keep) if total > budget else []
    if not loose:
        return everything

    def without(turns: int) -> FittedMessages:
        fallen = [position for turn in loose[:turns] for position in turn]
        gone = set(fallen)
        left = [position for position in range(len(messages)) if position not in gone]
        kept = tuple(messages[position] for position in left)
        still = tuple(place for place, position in enumerate(left) if position in keep)
        return FittedMessages(kept, count(kept), tuple(fallen), still)

    # Binary search for the fewest turns; all of them if that is not enough.
    low, high = 1, len(loose)
    while low < high:
        middle = (low + high) // 2
        if without(middle).tokens <= budget:
            high = middle
        else:
            low = middle + 1
    return without(low)


def _cut_at(text: str, mark: str) -> str:
    """The text before `mark`, without trailing space if the template trimmed the space after the mark."""
    before, found, after = text.rpartition(mark)
    if not found:
        raise TemplateError("The model's chat template drops the message to continue.")
    return before if after.startswith(" ") else before.rstrip()
