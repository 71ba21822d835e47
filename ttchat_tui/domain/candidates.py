"""Several replies to one message, and what differs between them, as it follows `/candidates`.

[N] [seed | NAME=LOW..HIGH | NAME=A,B,C | preset | preset=A,B | model=A,B] [the message]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import Candidate
from ttchat_tui.domain.preset import BUILT_IN, Preset
from ttchat_tui.domain.reply_settings import (
    NO_SETTINGS,
    ReplySettings,
    differing,
    names_near,
    parse_reply_settings,
    setting_words,
)
from ttchat_tui.domain.sampling import KEPT_BY_PRESETS, TEMPLATE_FIELDS, SamplingParams
from ttchat_tui.domain.text import counted

DEFAULT: Final = 4
MOST: Final = 32

_COUNT: Final = re.compile(r"(\d+)(?:\s+|$)")
_SETTING: Final = re.compile(r"([A-Za-z][\w-]*)=(\S*)(?:\s+|$)")
_RANGE: Final = re.compile(r"(-?[\d.]*\d)\.\.(-?\d[\d.]*)")
_SHARED: Final = TEMPLATE_FIELDS | {"stop"}
"""What all candidates share: the prompt, and where a reply ends."""


class Variant(msgspec.Struct, frozen=True):
    """One of the replies that are wanted."""

    label: str
    """What it differs in: `temperature 0.2`."""
    seed: int
    settings: ReplySettings = NO_SETTINGS
    """What was typed for it. It holds as long as the lane does; all other settings are those of the conversation."""

    @property
    def model(self) -> str:
        """As an argument of `--model`; empty: the loaded one."""
        return self.settings.model


def rows_of(wanted: Sequence[Variant], sampling: SamplingParams) -> list[Candidate]:
    """The rows of one batch. `sampling`: the conversation's. Only where they differ do they have parameters of their own."""
    own = [each.settings.over(sampling) for each in wanted]
    is_varied = bool(differing(own))
    return [
        Candidate(seed=each.seed, sampling=row if is_varied else None)
        for each, row in zip(wanted, own, strict=True)
    ]


class CandidateOrder(msgspec.Struct, frozen=True):
    """What was typed."""

    count: int = 0
    """0: as many as there are values, or the usual number."""
    name: str = "seed"
    """What differs: a field of `SamplingParams`, `preset` or `model`."""
    value: str = ""
    """As it was typed; empty: random seeds, or the presets of the program."""
    text: str = ""
    """The message to answer; empty: the last one is answered again."""


def parse_candidates(typed: str) -> CandidateOrder | ErrorInfo:
    """Parse what follows `/candidates`. Values are checked by `variants`."""
    rest, count, name, value = typed.strip(), 0, "seed", ""
    if match := _COUNT.match(rest):
        count, rest = int(match[1][:9]), rest[match.end() :]
        if not 1 <= count <= MOST:
            return _usage(f"There can be 1 to {MOST} candidates.")
    if match := _SETTING.match(rest):
        name, value, rest = match[1].lower().replace("-", "_"), match[2], rest[match.end() :]
        if name not in ("preset", "model") and name not in SamplingParams.__struct_fields__:
            return _usage(f"{match[1]!r} is no setting.", names_near(name))
        if not value:
            return _usage(f"{match[0].strip()!r} has no value.", f"Write {match[1]}=LOW..HIGH, or A,B,C.")
    elif rest in ("seed", "preset"):
        name, rest = rest, ""
    return CandidateOrder(count, name, value, rest)


def variants(
    order: CandidateOrder,
    sampling: SamplingParams,
    default: SamplingParams,
    preset: Callable[[str], Preset],
    draw: Callable[[SamplingParams, int], Sequence[Candidate]],
) -> list[Variant] | ErrorInfo:
    """
    Args:
        sampling: the conversation's.
        default: what a preset leaves out.
        preset: the preset of a name. What it raises passes through.
        draw: rows with seeds of their own.
    """
    if order.name == "preset":
        return _presets(order, sampling, default, preset, draw)
    if order.name == "model":
        return _models(order, draw(sampling, 1)[0].seed)
    if order.name in _SHARED:
        what = order.name.replace("_", "-")
        return _usage(f"{what} cannot differ: candidates share one prompt, and where a reply ends.")
    values = _values(order)
    if isinstance(values, ErrorInfo):
        return values
    settings: list[ReplySettings] = []
    for value in values:
        parsed = parse_reply_settings(f"{order.name}={value}")
        if isinstance(parsed, ErrorInfo):
            return parsed
        settings.append(parsed)
    count = order.count or DEFAULT
    if order.name == "seed":
        seeds = [each.over(sampling).seed or 0 for each in settings]
        if len(seeds) < 2:
            seeds = [each.seed for each in draw(settings[0].over(sampling) if settings else sampling, count)]
        return [Variant(f"seed {seed}", seed) for seed in seeds]
    if len(settings) < 2:
        return [Variant(f"seed {each.seed}", each.seed, settings[0]) for each in draw(sampling, count)]
    seed = draw(sampling, 1)[0].seed  # one for all: nothing else differs
    return [
        Variant(", ".join(setting_words(each.over(sampling), [order.name])), seed, each) for each in settings
    ]


def _values(order: CandidateOrder) -> list[str] | ErrorInfo:
    """The values that were typed, those of a range calculated."""
    if match := _RANGE.fullmatch(order.value):
        try:
            low, high = float(match[1]), float(match[2])
        except ValueError:
            return _usage(f"{order.value!r} is no range.", "Write LOW..HIGH, such as 0.2..1.4.")
        count = order.count or DEFAULT
        steps = [low + (high - low) * step / max(1, count - 1) for step in range(count)]
        is_whole = SamplingParams.__annotations__[order.name].startswith("Annotated[int")
        found = [f"{round(each)}" if is_whole else f"{round(each, 3):g}" for each in steps]
    else:
        found = [each for each in order.value.split(",") if each]
    found = list(dict.fromkeys(found))
    if order.count and len(found) > 1 and len(found) != order.count:
        return _usage(f"{order.value} gives {len(found)} different values, not {order.count}.")
    return found


def _presets(
    order: CandidateOrder,
    sampling: SamplingParams,
    default: SamplingParams,
    preset: Callable[[str], Preset],
    draw: Callable[[SamplingParams, int], Sequence[Candidate]],
) -> list[Variant] | ErrorInfo:
    """Only their sampling counts: system prompt and model are shared."""
    names = [each for each in order.value.split(",") if each] or [*BUILT_IN][: order.count or None]
    found = [preset(name) for name in names]
    if order.count and order.count != len(names):
        given = "one candidate" if len(names) == 1 else f"{len(names)} candidates"
        return _usage(
            f"{counted(len(names), 'preset')} {'gives' if len(names) == 1 else 'give'} {given}, not {order.count}."
        )
    for each in found:
        if not each.sampling.given:
            return _usage(f"The preset {each.name} gives no sampling, in which candidates could differ.")
    seed, kept = draw(sampling, 1)[0].seed, {*KEPT_BY_PRESETS, *TEMPLATE_FIELDS}
    decided = [
        name
        for name in SamplingParams.__struct_fields__
        if name not in kept or any(name in each.sampling.given for each in found)
    ]
    wanted: list[Variant] = []
    for each in found:
        own = each.sampling_over(sampling, default)
        held = ReplySettings(sampling={name: getattr(own, name) for name in decided})
        wanted.append(Variant(f"preset {each.name}", seed, held))
    return wanted


def _models(order: CandidateOrder, seed: int) -> list[Variant] | ErrorInfo:
    """Each with its own defaults, unless the conversation has settings of its own."""
    names = list(dict.fromkeys(each for each in order.value.split(",") if each))
    if len(names) < 2 or (order.count and order.count != len(names)):
        return _usage("Name two or more different models.", "Write model=A,B; /model lists them.")
    labels = [name.rstrip("/").rpartition("/")[2] for name in names]
    if len(set(labels)) < len(names):
        labels = names
    rows = zip(labels, names, strict=True)
    return [Variant(label, seed, ReplySettings(model=name)) for label, name in rows]


def _usage(message: str, cure: str = "") -> ErrorInfo:
    return ErrorInfo(kind="usage", message=message, cure=cure)
