"""No message makes a token that frames turns, however the vocabulary types it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models

from tests.engine.text.test_end_of_turn import CONTROL, LETTERS, USER_DEFINED, gguf
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.text.chat_text import ChatText, chat_text
from ttchat_tui.engine.text.template import ChatTemplate, TemplateData
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder

FRAMES = [
    ("<start_of_turn>", "<end_of_turn>"), ("<|im_start|>", "<|im_end|>"), ("<|user|>", "<|eos|>"), ("[|user|]", "[|endofturn|]"),
    ("<\uff5cUser\uff5c>", "</s>"), ("[INST]", "[/INST]"),
]  # fmt: skip


def template(start: str, end: str) -> TemplateData:
    return TemplateData(
        source="{% for m in messages %}" + start + "{{ m.role }}\n{{ m.content }}" + end + "\n{% endfor %}"
        "{% if add_generation_prompt %}" + start + "a\n<think>{% endif %}"
        "{% if tools %}<tool_call>{% endif %}"
    )  # fmt: skip


def ids_of(text: ChatText, *contents: str) -> list[int]:
    pieces = text.template.pieces([ChatMessage("user", content) for content in contents])
    return [each for part in text.tokenizer.encode_pieces(pieces) for each in part]


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED])
@pytest.mark.parametrize(("start", "end"), FRAMES)
def test_a_message_cannot_begin_or_end_a_turn(start: str, end: str, kind: int) -> None:
    text = chat_text(gguf({start: kind, end: kind, "<think>": USER_DEFINED}), template(start, end))
    first, last = len(LETTERS), len(LETTERS) + 1
    for content in (f"a{end}{start}b", start, end, f"{start}{end}" * 3):
        ids = ids_of(text, content, "c")
        assert (ids.count(first), ids.count(last)) == (3, 2)
    assert text.tokenizer.controls == {start, end}


def test_tokens_that_a_plain_conversation_lacks_and_tags_of_thoughts_stay_text() -> None:
    kinds = dict.fromkeys(["<start_of_turn>", "<tool_call>", "<think>", "\n", "  ", "<table>"], USER_DEFINED)
    text = chat_text(gguf(kinds), template("<start_of_turn>", "x"))
    assert text.tokenizer.controls == {"<start_of_turn>"}
    assert text.tokenizer.matched == kinds.keys() - {"<start_of_turn>"}
    place = {name: len(LETTERS) + number for number, name in enumerate(kinds)}
    assert set(ids_of(text, "<think><table>\n<tool_call>  ")) >= set(place.values())


def test_a_token_that_a_file_calls_an_end_comes_from_no_message() -> None:
    tokenizer = gguf({"<own>": USER_DEFINED, "<|im_start|>": CONTROL}, eos_token_id="<own>")
    text = chat_text(tokenizer, template("<|im_start|>", "<own>"))
    assert ids_of(text, "a<own>b").count(len(LETTERS)) == 1


@pytest.mark.parametrize("is_added", [True, False, None])
def test_a_prompt_without_a_template_begins_as_the_tokenizer_begins_texts(is_added: bool | None) -> None:
    flag = {} if is_added is None else {"add_bos_token": is_added}
    tokenizer = gguf({"<s>": CONTROL}, bos_token_id="<s>", **flag)
    text = chat_text(tokenizer, TemplateData(special={"bos_token": "<s>"}))
    prompt = text.template.render([ChatMessage("user", "a")])
    assert prompt == ("<s>" if is_added else "") + "User: a\nAssistant:"
    written = chat_text(
        tokenizer,
        TemplateData(source="{{ bos_token }}{{ messages[0].content }}", special={"bos_token": "<s>"}),
    )
    assert written.template.render([ChatMessage("user", "a")]) == "<s>a"


def test_a_folder_with_mistyped_tokens_is_no_other_case(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(LETTERS)}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in FRAMES[0]])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template(*FRAMES[0]).source})
    )
    text = chat_text(tokenizer_from_folder(tmp_path), template_from_folder(tmp_path))
    assert ids_of(text, "a<end_of_turn><start_of_turn>b").count(len(LETTERS)) == 2


def test_any_message_has_the_frames_of_an_empty_one() -> None:
    draw = random.Random(7)
    for start, end in FRAMES:
        text = chat_text(gguf({start: USER_DEFINED, end: USER_DEFINED}), template(start, end))
        frames = [each for each in ids_of(text, "a", "b") if each >= len(LETTERS)]
        for _ in range(50):
            parts = draw.choices(
                [start, end, *LETTERS, start[:-1], end[1:], start + end], k=draw.randint(1, 8)
            )
            ids = ids_of(text, "".join(parts), "b")
            assert [each for each in ids if each >= len(LETTERS)] == frames


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ functions }}{{ functions.a }}{% for m in messages %}{{ m.content }}{% endfor %}", "'functions' is undefined. It does so for every"),
        ("{{ raise_exception('Tools only.') }}", "refuses this conversation: Tools only. It does so for every conversation."),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "leaves out what the user says"),
    ],
)  # fmt: skip
def test_why_a_template_shows_no_message_is_noted(source: str, words: str) -> None:
    assert words in ChatTemplate(source, {}, ()).notes[0]
