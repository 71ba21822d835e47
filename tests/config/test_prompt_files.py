"""Prompt templates and presets as files: read back as written, and a faulty one is named and hides no other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.chat_app import paths_in
from ttchat_tui.config import prompt_files
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.prompt_files import (
    PRESET_SUFFIX,
    TEMPLATE_SUFFIX,
    name_problem,
    preset_text,
    read_preset,
    read_template,
    template_text,
    write_new,
)
from ttchat_tui.config.prompt_library import PromptLibrary
from ttchat_tui.domain.preset import BUILT_IN, Preset, preset_of
from ttchat_tui.domain.prompt_template import PromptTemplate, Variable, placeholders
from ttchat_tui.domain.sampling import PRESETS, SamplingDefaults, SamplingParams

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30)
BODY = st.lists(
    st.sampled_from(["+++\n", "---\n", "{{a}}", "{{ b-c }}", "a: 1\n", '"""', "é", " ", "\\"])
).map("".join)


@given(TEXT, BODY, st.one_of(st.none(), TEXT))
@settings(max_examples=sized(30, 2000), deadline=None)
def test_a_template_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, description: str, body: str, default: str | None
) -> None:
    text = f"x{body}x"
    variable = Variable(description=description, default=default)
    written = PromptTemplate(
        name="it is",
        text=text,
        kind="system",
        description=description,
        variables=dict.fromkeys(placeholders(text), variable),
    )
    folder = tmp_path_factory.mktemp("prompts")
    assert read_template(write_new(folder, TEMPLATE_SUFFIX, "it is", template_text(written))) == written


@given(TEXT, TEXT, st.lists(TEXT.filter(bool), max_size=2), st.one_of(st.none(), st.integers(0, 2**63 - 1)))
@settings(max_examples=sized(30, 2000), deadline=None)
def test_a_preset_brings_its_settings_back(
    tmp_path_factory: pytest.TempPathFactory, system: str, model: str, stop: list[str], seed: int | None
) -> None:
    params = SamplingParams(
        temperature=0.35, max_tokens=77, stop=tuple(stop), seed=seed, logit_bias=dict.fromkeys(stop, -3.5)
    )
    preset = preset_of("mine", params, model=model, system_prompt=system)
    folder = tmp_path_factory.mktemp("presets")
    back = read_preset(write_new(folder, PRESET_SUFFIX, "mine", preset_text(preset)))
    assert back == preset
    assert back.sampling_over(SamplingParams(max_tokens=5), SamplingParams(top_k=3)) == params


def test_the_built_in_presets_keep_seed_length_and_stop_strings() -> None:
    current = SamplingParams(seed=7, max_tokens=5, stop=("x",), min_p=0.4)
    for name, params in PRESETS.items():
        applied = BUILT_IN[name].sampling_over(current, SamplingParams(top_k=1))
        assert (applied.seed, applied.max_tokens, applied.stop) == (7, 5, ("x",))
        assert (applied.temperature, applied.min_p, applied.top_k) == (
            params.temperature,
            params.min_p,
            params.top_k,
        )


TEMPLATE_FAULTS = [
    (b'+++\nkind = "sys"\n+++\nx', "kind is 'sys', which is not among the choices; give one of prompt, system"),
    (b"+++\nname = 'x'\n+++\nx", "name: there is no such setting; known here: description, kind, variables"),
    (b"+++\n\nkind == 1\n+++\nx", "line 3, column 7"),
    (b"+++\n[variables.a]\ndescr = ''\n+++\n{{a}}", "variables.a.descr: there is no such setting; did you mean `description`?"),
    (b"+++\n[variables]\na = 3\n+++\n{{a}}", "variables.a is a whole number, not a section"),
    (b"+++\n[variables.a]\n+++\n{{b}}", "variables.a: {{a}} is not in the text; write {{a}}"),
    (b"+++\n[variables.'a b']\n+++\n{{a b}}", "'a b' cannot be the name of a variable; use letters"),
    (b"+++\n[variables.a]\ndefault='x'\nchoices=['y']\n+++\n{{a}}", "variables.a.default: 'x' is not among the choices"),
    (b"+++\nkind = 'prompt'\nx", "line 1: the front matter has no end; end it with a line +++"),
    (b"---\nkind: prompt\n---\nx", "is between ---, as for YAML; write it as TOML between lines +++"),
    (b"+++\n+++\n\n", "there is no text; write it below the second +++"),
    (b"", "there is no text"),
    (b"\xff", "is not UTF-8 text"),
    (b"x" * 1_000_001, "is larger than 1 MB"),
]  # fmt: skip
PRESET_FAULTS = [
    (b"[sampling]\ntemperature = 9", "sampling.temperature is too large; give a number from 0 to 2"),
    (b"[sampling]\ntop_kk = 9", "sampling.top_kk: there is no such setting; did you mean `top_k`?"),
    (b"model = 3", "model is a whole number, not text"),
    (b"system = 'x'", "system: there is no such setting; did you mean `system_prompt`?"),
    (b"model == 3", "line 1, column 8"),
]


def test_each_faulty_file_is_named_with_place_and_cure_and_the_good_ones_are_there(tmp_path: Path) -> None:
    library = PromptLibrary(paths_in(tmp_path))
    for folder, suffix, faults, good in (
        (library.prompts_dir, ".md", TEMPLATE_FAULTS, b"\xef\xbb\xbfhello\r\n"),
        (library.presets_dir, ".toml", PRESET_FAULTS, b"model = 'm'"),
    ):
        folder.mkdir(parents=True)
        for number, (content, _) in enumerate(faults):
            (folder / f"bad{number}{suffix}").write_bytes(content)
        (folder / f"good{suffix}").write_bytes(good)
        (folder / f".hidden{suffix}").write_bytes(b"")
    (library.prompts_dir / "folder.md").mkdir()
    (library.presets_dir / "precise.toml").write_bytes(b"")
    library.read()
    assert [each.text for each in library.templates.values()] == ["hello"]
    assert [*library.presets] == [*BUILT_IN, "good"]
    for number, (_, words) in enumerate(TEMPLATE_FAULTS):
        error = str(library.template_faults[f"bad{number}.md"])
        assert words in error
        assert error.startswith(str(library.prompts_dir / f"bad{number}.md"))
    for number, (_, words) in enumerate(PRESET_FAULTS):
        assert words in str(library.preset_faults[f"bad{number}.toml"])
    assert "is a folder" in str(library.template_faults["folder.md"])
    assert "built-in preset; rename the file" in str(library.preset_faults["precise.toml"])
    assert (
        len(library.template_faults) + len(library.preset_faults)
        == len(TEMPLATE_FAULTS) + len(PRESET_FAULTS) + 2
    )


def test_missing_folders_have_nothing_and_a_name_that_is_not_there_finds_the_nearest(tmp_path: Path) -> None:
    library = PromptLibrary(paths_in(tmp_path))
    library.read()
    assert (library.templates, library.presets) == ({}, BUILT_IN)
    assert (library.template_faults, library.preset_faults) == ({}, {})
    with pytest.raises(ConfigError, match="no preset precis; did you mean precise"):
        library.preset("precis")
    with pytest.raises(ConfigError, match=r"no template x; put a file NAME.md there"):
        library.template("x")


def test_nothing_is_replaced_and_no_name_leaves_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as no_links:
        no_links.setattr(os, "link", refuse)
        write_new(tmp_path, TEMPLATE_SUFFIX, "a b", "one")
    with pytest.raises(ConfigError, match="exists, and is not replaced"):
        write_new(tmp_path, TEMPLATE_SUFFIX, "a b", "two")
    assert (tmp_path / "a b.md").read_text() == "one"
    for name in ("", "../x", "a/b", ".hidden", "-x", "a\nb", "a\x00", "é" * 101, "dot."):
        assert name_problem(tmp_path, TEMPLATE_SUFFIX, name)
    assert name_problem(tmp_path, PRESET_SUFFIX, "precise")
    assert [file.name for file in tmp_path.iterdir()] == ["a b.md"]
    monkeypatch.setattr(prompt_files, "name_problem", lambda *_: "")  # the file appears after the check
    with pytest.raises(ConfigError, match="exists, and is not replaced; choose another name"):
        write_new(tmp_path, TEMPLATE_SUFFIX, "a b", "two")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a b.md", "one")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model = "x', "line 1, the last one: "),
        ("a = 1\nb = [1,\n", "line 2, the last one: "),
        ("a = 1\nb = = 2\n", "line 2, column 5: "),
        ("temperatures = 1", "there is no such setting; write `temperature` below [sampling]"),
        ("top_k = 1", "there is no such setting; write `top_k` below [sampling]"),
        ("modl = 'x'", "did you mean `model`?"),
    ],
)
def test_a_preset_fault_names_its_line_or_the_section_of_its_key(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_preset(file)


def test_the_description_of_a_preset_names_all_that_it_changes() -> None:
    sampling = SamplingDefaults(temperature=0.0, max_tokens=12, stop=("a",), repetition_penalty=1.5)
    preset = Preset(name="x", sampling=sampling, system_prompt="")
    assert preset.gives == (
        "temperature 0, repetition-penalty 1.5, max-tokens 12, 1 stop string, system prompt"
    )
    assert BUILT_IN["precise"].gives.count(",") == 3
