"""Loading settings from defaults, file, variables and flags; each error is one line with its cure."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.load import SHORT_VARIABLES, load_config
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.domain.sampling import SamplingParams


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config_dir=tmp_path, data_dir=tmp_path, cache_dir=tmp_path, state_dir=tmp_path)


def write(paths: Paths, text: str | bytes) -> None:
    paths.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())


def complaint(paths: Paths, environ: dict[str, str] | None = None, **more: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(paths, environ=environ or {}, **more)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert all(letter.isprintable() for letter in text)
    return text


def test_without_any_source_the_defaults_apply(paths: Paths) -> None:
    assert load_config(paths, environ={"PATH": "/bin", "TTCHAT_DATA_DIR": "/x"}) == Config()


def test_an_empty_file_changes_nothing(paths: Paths) -> None:
    write(paths, "")
    assert load_config(paths, environ={}) == Config()


def test_the_file_overrides_defaults_variables_the_file_and_flags_everything(paths: Paths) -> None:
    write(paths, "[sampling]\ntemperature = 0.1\ntop_k = 1\ntop_p = 0.1\n")
    config = load_config(
        paths,
        environ={"TTCHAT_SAMPLING__TEMPERATURE": "0.2", "TTCHAT_SAMPLING__TOP_K": "2"},
        flags={"sampling.temperature": 0.3, "sampling.top_k": None},
    )
    sampling = config.sampling.over(SamplingParams())
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.3, 2, 0.1)


def test_a_named_file_replaces_the_usual_one(paths: Paths, tmp_path: Path) -> None:
    write(paths, 'system_prompt = "usual"\n[model]\nthreads = 3\n')
    other = tmp_path / "other.toml"
    other.write_text('system_prompt = "other"\n')
    config = load_config(paths, environ={}, file=other)
    assert (config.system_prompt, config.cpu.threads) == ("other", 0)


def test_a_named_file_must_exist(paths: Paths, tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert complaint(paths, file=gone) == f"{gone}: there is no such file; correct the path, or leave it out"


@pytest.mark.parametrize("variable", SHORT_VARIABLES)
def test_the_usual_settings_have_short_variables(paths: Paths, variable: str) -> None:
    section, _, name = SHORT_VARIABLES[variable].rpartition(".")
    value = {"TTCHAT_ENGINE": "cpu", "TTCHAT_ISOLATION": "thread", "TTCHAT_LOG_LEVEL": "debug"}.get(
        variable, "x"
    )
    config = load_config(paths, environ={variable: value})
    assert getattr(getattr(config, section) if section else config, name) == value


def test_every_kind_of_setting_can_be_written_as_a_variable(paths: Paths) -> None:
    config = load_config(
        paths,
        environ={
            "TTCHAT_SYSTEM_PROMPT": "Be brief; 1 = 1.",
            "TTCHAT_MODEL__NAME": "123",
            "TTCHAT_MODEL__THREADS": " 2 ",
            "TTCHAT_SAMPLING__STOP": "END, STOP",
            "TTCHAT_SAMPLING__SEED": "7",
            "TTCHAT_UI__REDUCED_MOTION": "true",
            "TTCHAT_UI__SUBMIT_KEYS": "ctrl+enter",
            "TTCHAT_STORAGE__AUTOSAVE": "0",
            "TTCHAT_KEYS__STOP": "f2,ctrl+x",
            "TTCHAT_ENGINE__STEP_TIMEOUT_S": "1",
            "TTCHAT_TT__MAX_BATCH_SIZE": "8",
        },
    )
    assert config.tt.max_batch_size == 8
    assert config.system_prompt == "Be brief; 1 = 1."
    assert (config.model.name, config.cpu.threads) == ("123", 2)
    assert (config.sampling.stop, config.sampling.seed) == (("END", "STOP"), 7)
    assert (config.ui.reduced_motion, config.ui.submit_keys) == (True, ("ctrl+enter",))
    assert config.storage.autosave is False
    assert config.keys == {"stop": "f2,ctrl+x"}
    assert config.engine.step_timeout_s == 1.0


def test_lists_are_replaced_and_sections_are_merged(paths: Paths) -> None:
    write(paths, '[ui]\nsubmit_keys = ["ctrl+enter"]\nnewline_keys = ["enter"]\n[keys]\nstop = "f2"\n')
    config = load_config(paths, environ={"TTCHAT_UI__SUBMIT_KEYS": "f5", "TTCHAT_KEYS__QUIT": "f10"})
    assert (config.ui.submit_keys, config.ui.newline_keys) == (("f5",), ("enter",))
    assert config.keys == {"stop": "f2", "quit": "f10"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[sampling]\ntemperatures = 1",
            "sampling.temperatures: there is no such setting; did you mean `temperature`?",
        ),
        ("[samplings]\ntop_k = 1", "samplings: there is no such setting; did you mean `sampling`?"),
        ("[log]\nfile = 1", "log.file: there is no such setting; known here: level"),
        (
            "[sampling]\ntemperature = 5",
            "sampling.temperature is too large; give a number from 0 to 2",
        ),
        (
            "[sampling]\ntop_k = 1001",
            "sampling.top_k is too large; give a whole number from 0 to 1,000",
        ),
        (
            '[model]\nengine = "gpu"',
            "model.engine is 'gpu', which is not among the choices; give one of auto, cpu, remote, tt",
        ),
        (
            "[model]\nthreads = 1.5",
            "model.threads is a number, not a whole number; give a whole number from 0 to 1,024",
        ),
        ("[model]\ncontext_length = -1", "give a whole number of at least 0"),
        ("[engine]\nhang_timeout_s = 0", "give a number above 0"),
        (
            "[storage]\nautosave = 1",
            "storage.autosave is a whole number, not true or false; give true or false",
        ),
        ("sampling = 3", "sampling is a whole number, not a section; give a section: [sampling]"),
        ("system_prompt = 3", 'system_prompt is a whole number, not text; give a string in "quotes"'),
        ("[sampling]\nstop = [1]", "sampling.stop[0] is a whole number, not text; give a list of strings"),
        ('[sampling]\nstop = ["a", ""]', "sampling.stop[1] is empty"),
        ('[sampling]\nlogit_bias = { " the" = -101 }', "from -100 to 100, which bans it at -100"),
        ('[sampling]\nlogit_bias = " the"', "sampling.logit_bias is text, not a section"),
        (
            '[sampling]\nconstraint = { kind = "choices", text = "yes,,no" }',
            "sampling.constraint: choice 2 is empty: give it a text, or take out a comma; give a kind and a text: { kind =",
        ),
        (
            '[sampling]\nconstraint = "regex a"',
            "sampling.constraint is text, not a section; give a kind and a text",
        ),
        (
            '[sampling]\nconstraint = { kind = "choices" }',
            "the key `text` is missing; give a kind and a text: {",
        ),
        ("[ui]\nsubmit_keys = []", "ui.submit_keys is empty"),
        ("[keys]\nstop = 1", "separated by commas"),
        (
            '[ui]\nsubmit_keys = ["ctrl+j"]',
            "ui: `ctrl+j` cannot both send the message and begin a new line",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_with_file_path_and_cure(paths: Paths, text: str, expected: str) -> None:
    write(paths, text)
    line = complaint(paths)
    assert line.startswith(f"{paths.config_file}: ")
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = = 2\n", "line 2, column 5: "),
        ("[model\n", "line 1, column 7: "),
        ('name = "open', "line 1, the last one: "),
        ("a = 1\na = 2\n", "Cannot overwrite"),
        (b'\xff\xfe = "utf-16"', "is not UTF-8 text (byte 0xff at offset 0); save it as UTF-8"),
    ],
)
def test_broken_toml_is_reported_with_line_and_column(paths: Paths, text: str | bytes, expected: str) -> None:
    write(paths, text)
    line = complaint(paths)
    assert re.match(rf"{re.escape(str(paths.config_file))}(: | is )", line)
    assert expected in line


def test_a_folder_in_place_of_the_file_is_reported(paths: Paths) -> None:
    paths.config_file.mkdir()
    assert "is a folder" in complaint(paths)


def test_a_dangling_link_is_not_a_missing_file(paths: Paths) -> None:
    paths.config_file.symlink_to(paths.config_dir / "gone")
    assert "there is no such file" in complaint(paths)


def test_a_file_without_read_permission_is_reported(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    write(paths, "")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be read (Permission denied)" in complaint(paths)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("TTCHAT_SAMPLING__TOP_K", "many", "sampling.top_k is text, not a whole number"),
        ("TTCHAT_SAMPLING__TEMPERATURE", "3", "sampling.temperature is too large"),
        ("TTCHAT_SAMPLNG__TOP_K", "1", "samplng: there is no such setting; did you mean `sampling`?"),
        ("TTCHAT_UI__THEM", "x", "ui.them: there is no such setting; did you mean `theme`?"),
        ("TTCHAT_MODEL__THREADS__X", "1", "model.threads"),
        ("TTCHAT_ENGINE", "gpu", "model.engine is 'gpu', which is not among the choices"),
        ("TTCHAT_UI__NEWLINE_KEYS", "enter", "`enter` cannot both send"),
        (
            "TTCHAT_MODEL__PRECISION",
            "f8",
            "model.precision is 'f8', which is not among the choices; give one of auto, bf16",
        ),
        (
            "TTCHAT_CPU__PRECISION",
            "f8",
            "cpu.precision is 'f8', which is not among the choices; give one of auto, bf16",
        ),
    ],
)
def test_an_error_in_a_variable_names_the_variable_and_not_the_file(
    paths: Paths, variable: str, text: str, expected: str
) -> None:
    write(paths, "[log]\n")
    line = complaint(paths, {variable: text})
    assert line.startswith(f"{variable}: ")
    assert expected in line


def test_an_error_in_a_flag_names_the_flag(paths: Paths) -> None:
    line = complaint(paths, flags={"sampling.top_p": 2.0})
    assert line == "--top-p is too large; give a number from 0 to 1"


def test_control_characters_in_a_file_never_reach_the_terminal(paths: Paths) -> None:
    write(paths, '"\\u001b[31mred\\nline" = 1\n')
    assert "\x1b" not in complaint(paths)


@given(text=st.text(max_size=60))
def test_any_text_loads_or_is_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    paths = Paths(config_dir=folder, data_dir=folder, cache_dir=folder, state_dir=folder)
    paths.config_file.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = ""
    try:
        load_config(paths, environ={})
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


OLD_FILE = """
[model]
precision = "f16"
prefill_copy = "off"
threads = 3
[engine]
kernel = "off"
speculation = "off"
"""


def test_settings_that_have_moved_still_work_where_older_files_have_them(paths: Paths) -> None:
    write(paths, OLD_FILE)
    options = CpuOptions(precision="f16", prefill_copy="off", threads=3, kernel="off", speculation="off")
    config = load_config(paths, environ={"TTCHAT_MODEL__THREADS": "4"})
    assert config.cpu == msgspec.structs.replace(options, threads=4)
    assert (config.model, config.engine) == (Config().model, Config().engine)


def test_the_later_place_wins_whichever_section_it_names(paths: Paths) -> None:
    write(paths, "[cpu]\nthreads = 3\n")
    assert load_config(paths, environ={"TTCHAT_MODEL__THREADS": "4"}).cpu.threads == 4
    write(paths, "[model]\nthreads = 3\n")
    assert load_config(paths, environ={"TTCHAT_CPU__THREADS": "4"}).cpu.threads == 4


def test_variables_for_both_places_of_a_setting_are_refused_as_they_are_in_a_file(paths: Paths) -> None:
    line = complaint(paths, {"TTCHAT_CPU__THREADS": "4", "TTCHAT_MODEL__THREADS": "2"})
    assert line == (
        "TTCHAT_MODEL__THREADS is the same setting as TTCHAT_CPU__THREADS, and both are given; keep TTCHAT_CPU__THREADS"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[model]\nprecision = "f8"',
            "model.precision is 'f8', which is not among the choices; give one of auto, bf16, f16, fp32, int4, int8",
        ),
        ("[model]\nthread = 1", "model.thread: there is no such setting; did you mean `threads`?"),
        (
            "[engine]\nkernel = 1",
            "engine.kernel is a whole number, which is not among the choices; give one of auto, off, on",
        ),
        (
            "[model]\nthreads = 1\n[cpu]\nthreads = 2",
            "model.threads is the same setting as cpu.threads, and both are given; keep cpu.threads",
        ),
        ("[cpu]\nthreads = -1", "cpu.threads is too small; give a whole number from 0 to 1,024"),
        ("cpu = 3\n[model]\nthreads = 1", "cpu is a whole number, not a section; give a section: [cpu]"),
    ],
)
def test_an_error_names_a_setting_that_has_moved_as_the_file_has_it(
    paths: Paths, text: str, expected: str
) -> None:
    write(paths, text)
    assert complaint(paths) == f"{paths.config_file}: {expected}"
