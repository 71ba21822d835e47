"""Twenty chats in two precisions, greedily and with the model's default sampling, side by side for a reader.

Writes benchmarks/results/chat_samples.md and prints how many chats are the same as in the first precision, and which
loop: the same three words eight times, without digits and punctuation. Nothing is downloaded for `--model FILE`. Not a
measurement of speed.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from operator import eq
from pathlib import Path

from benchmarks.default_model import PATHS, default_model
from benchmarks.report import RESULTS
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.factory import create_engine
from ttchat_tui.models.catalog import catalog

TOKENS, SEED, PHRASE, TIMES = 160, 7, 3, 8
CHATS: tuple[tuple[str, ...], ...] = (
    ("What is the capital of France, and what is it known for?",),
    ("Explain in three sentences why the sky is blue.",),
    ("Write a Python function that reverses a string, with an example.",),
    ("Give me a recipe for pancakes as a numbered list.",),
    ("Translate 'Good morning, how are you?' into Spanish and French.",),
    ("Write a haiku about an old clock.",),
    ("List five animals that live in the sea.",),
    ("What is 17 + 26? Show the steps.",),
    ("Summarise the story of Romeo and Juliet in two sentences.",),
    ("Write a short, polite e-mail that moves a meeting from Tuesday to Thursday.",),
    ("What is the difference between a list and a tuple in Python?",),
    ("Tell me a joke about computers.",),
    ("How do I boil an egg?",),
    ("Name the planets of the solar system in order.",),
    ("Write a bash command that counts the lines of all .py files in a folder.",),
    ("Is a whale a fish? Answer with one word and one reason.",),
    ("My name is Ada and I like chess.", "What is my name, and what do I like?"),
    ("Give me three names for a cat.", "Now three for a dog.", "Which of the six is the funniest?"),
    ("Write one sentence about the moon.", "Make it longer."),
    ("Count from one to twenty in words.",),
)
"""Turns of the user. The engine writes the replies between them."""


def answer(engine: Engine, turns: tuple[str, ...], sampling: SamplingParams) -> list[str]:
    """The replies, each with its finish reason."""
    messages: list[ChatMessage] = []
    replies: list[str] = []
    for number, turn in enumerate(turns):
        messages.append(ChatMessage("user", turn))
        request = GenerationRequest(id=number, messages=tuple(messages), sampling=sampling, seed=SEED)
        text, reason = "", ""
        for event in engine.generate(request, GenerationControl(sampling)):
            if isinstance(event, TokenEvent | GenerationFinished):
                text += event.text
            if isinstance(event, GenerationFinished):
                reason = event.reason
        messages.append(ChatMessage("assistant", text))
        replies.append(f"{text}  [{reason}]")
    return replies


def has_loop(text: str) -> bool:
    """Whether a phrase of three words occurs eight times."""
    words = re.findall(r"[a-z]+", text.lower())
    phrases = Counter(tuple(words[at : at + PHRASE]) for at in range(len(words) - PHRASE + 1))
    return max(phrases.values(), default=0) >= TIMES


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "auto"])
    parser.add_argument("--samplings", nargs="+", default=["greedy", "default"])
    options = parser.parse_args()
    path = options.model or default_model()
    known = catalog()
    entry = known.find(known.default)
    usual = entry.recommended if entry and entry.recommended else SamplingParams()
    samplings = {
        "greedy": SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=TOKENS),
        "default": SamplingParams(
            temperature=usual.temperature, top_k=usual.top_k, top_p=usual.top_p, max_tokens=TOKENS
        ),
    }
    replies: dict[tuple[str, str], list[list[str]]] = {}
    for precision in options.precisions:
        engine = create_engine("cpu")
        info = engine.load(
            ModelSpec(
                name="samples",
                path=str(path),
                options=CpuOptions(precision=precision),
                kernel_dir=str(PATHS.kernels_dir),
            ),
            lambda progress: None,
        )
        for name in options.samplings:
            sampling = samplings[name]
            replies[name, f"{precision}: {info.label}"] = [answer(engine, turns, sampling) for turns in CHATS]
        engine.close()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "chat_samples.md").write_text(page(replies), encoding="utf-8")
    for (name, label), answers in replies.items():
        found = [number for number, texts in enumerate(answers, 1) if has_loop(" ".join(texts))]
        first = next(others for (other, _), others in replies.items() if other == name)
        same = sum(map(eq, answers, first))
        print(f"{name:>8}, {label:<24} the same: {same} of {len(CHATS)}; with a loop: {len(found)} {found}")


def page(replies: dict[tuple[str, str], list[list[str]]]) -> str:
    """The replies of all precisions, by chat."""
    lines: list[str] = []
    for number, turns in enumerate(CHATS):
        lines.append(f"\n## {number + 1}. {' → '.join(turns)}\n")
        for (name, label), answers in replies.items():
            lines.append(f"**{name}, {label}**")
            lines.extend(f"> {text}\n" for text in answers[number])
    return "\n".join(lines)


if __name__ == "__main__":
    main()
