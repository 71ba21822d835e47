"""Our tokenizers of GGUF files held to llama.cpp: its vocabulary tests, and random texts through every way of splitting.

    python scripts/check_vocabularies.py llama-cpp-python.tar.gz [--texts 1500]

The argument is the sdist of llama-cpp-python (`pip download --no-binary :all: --no-deps llama-cpp-python`), its folder, or a
folder with llama.cpp's `models/ggml-vocab-*.gguf`. Random texts need the package itself (`make peers`). Where a model's own
tokenizer.json and llama.cpp differ on purpose (`gguf_splits.py`), the difference is counted and shown, not an error.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.text.gguf_splits import SPLITS
from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.tokenizer_gguf import tokenizer_from_gguf

_SEPARATOR = "\n__ggml_vocab_test__\n"
"""Between the cases of a `.inp` file: `read_tests` in llama.cpp's tests/test-tokenizer-0.cpp."""
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "    \t\n\n\r", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "éüñçßøåÉÜ", "абвгдЖЩЮ", "αβγδΩ", "中文字日本語ひらがなカタカナ한국어", "مرحبا١٢٣", "नमस्ते", "½²Ⅷ٣", "🙂🚀👩‍🚀✅", "\u00a0\u2003\u3000\u0085",
)  # fmt: skip
_OTHER_DIGITS = frozenset({"afmoe", "tiny_aya", "cohere2moe"})
"""llama.cpp leaves the text before a group of digits in one piece with its first digits; the models' tokenizers do not."""
_WORDS = (
    "'s",
    "'T",
    "'re",
    "'LL",
    "don't",
    "I'VE",
    " the",
    "Hello",
    "1234567",
    "  ",
    "\n\n",
    "\r\n",
    "IMGIMGABZ",
    "...",
    "=>",
    "//",
)


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("source", type=Path)
    arguments.add_argument("--texts", type=int, default=1500, help="random texts for each vocabulary")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = sorted(_unpacked(given.source, Path(scratch)).rglob("ggml-vocab-*.gguf"))
        if not files:
            print(f"no ggml-vocab-*.gguf below {given.source}")
            return 2
        faults = sum(_run_cases(file) for file in files)
        faults += _compare(files, given.texts)
    return 1 if faults else 0


def _unpacked(source: Path, scratch: Path) -> Path:
    if source.is_dir():
        return source
    with tarfile.open(source) as archive:
        members = [each for each in archive.getmembers() if "/models/ggml-vocab-" in each.name]
        archive.extractall(scratch, members, filter="data")
    return scratch


def _run_cases(file: Path) -> int:
    """llama.cpp's own cases, whose ids come from the models' tokenizers."""
    inputs, outputs = file.with_name(f"{file.name}.inp"), file.with_name(f"{file.name}.out")
    if not inputs.exists():
        return 0
    texts = inputs.read_text(encoding="utf-8").split(_SEPARATOR)
    expected = [[int(each) for each in line.split()] for line in outputs.read_text().splitlines()]
    encode = _ours(_metadata(file), file.name)
    if encode is None:
        return 0
    wrong = [text for text, ids in zip(texts, expected, strict=False) if encode(text) != ids]
    print(f"{file.name}: {len(expected) - len(wrong)} of {len(expected)} of llama.cpp's cases")
    for text in wrong[:3]:
        print(f"    {text!r}")
    return len(wrong)


def _compare(files: list[Path], count: int) -> int:
    try:
        llama: Any = importlib.import_module("llama_cpp")
    except ImportError:
        print("llama-cpp-python is not installed: no random texts (`make peers`)")
        return 0
    texts = list(_random_texts(count))
    wrong = sum(_differences(llama, file, texts, None) for file in files)
    of_llama = next(file for file in files if file.name == "ggml-vocab-llama-bpe.gguf")
    one_of_each = {split: pre for pre, split in reversed(list(SPLITS.items())) if split.spells_bytes}
    return wrong + sum(_differences(llama, of_llama, texts, pre) for pre in one_of_each.values())


def _differences(llama: Any, file: Path, texts: list[str], pre: str | None) -> int:
    """Print how many texts have other ids than llama.cpp's. Only those in ASCII are faults: see `gguf_splits.py`."""
    metadata = _metadata(file)
    name = file.name
    overrides: dict[str, str] | None = None
    if pre is not None:
        metadata = {**metadata, "tokenizer.ggml.pre": pre}
        name, overrides = f"pre {pre}", {"tokenizer.ggml.pre": pre}
    encode = _ours(metadata, name)
    if encode is None:
        return 0
    theirs = llama.Llama(str(file), vocab_only=True, verbose=False, kv_overrides=overrides)
    found = [
        text
        for text in texts
        if encode(text)
        != theirs.tokenize(unicodedata.normalize("NFC", text).encode(), add_bos=False, special=False)
    ]
    plain = [text for text in found if text.isascii()]
    print(
        f"{name}: {len(texts) - len(found)} of {len(texts)} random texts as llama.cpp, {len(plain)} differ in ASCII"
    )
    for text in (plain or found)[:2]:
        ours = encode(text)
        other = theirs.tokenize(unicodedata.normalize("NFC", text).encode(), add_bos=False, special=False)
        print(f"    {text!r}\n      ours   {ours}\n      theirs {other}")
    return 0 if pre in _OTHER_DIGITS else len(plain)


def _metadata(file: Path) -> Mapping[str, Any]:
    container = GgufContainer(file)
    try:
        return dict(container.metadata)
    finally:
        container.data.close()


def _ours(metadata: Mapping[str, Any], name: str) -> Callable[[str], list[int]] | None:
    try:
        tokenizer = tokenizer_from_gguf(metadata)
    except ModelLoadError as error:
        print(f"{name}: refused: {error}")
        return None
    return lambda text: list(tokenizer.encode_pieces([PromptPiece(text, False)])[0])


def _random_texts(count: int) -> Iterator[str]:
    chance = random.Random(16)
    for _ in range(count):
        parts: list[str] = []
        for _ in range(chance.randint(1, 12)):
            if chance.random() < 0.3:
                parts.append(chance.choice(_WORDS))
            else:
                letters = chance.choice(_ALPHABETS)
                parts.append("".join(chance.choice(letters) for _ in range(chance.randint(1, 6))))
        yield unicodedata.normalize("NFC", "".join(parts))


if __name__ == "__main__":
    sys.exit(main())
