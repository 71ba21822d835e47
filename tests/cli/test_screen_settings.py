"""Wrong keys and themes are reported without a screen too, with the place that set them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import run
from tests.test_imports import loaded_by

SWAPPED = '[keys]\nnew = "ctrl+r"\n'


def write_config(folder: Path, text: str) -> Path:
    file = folder / "config" / "config.toml"
    file.parent.mkdir()
    file.write_text(text)
    return file


@pytest.mark.parametrize("arguments", [("-p", "Hello"), ("--plain",), ("bench",)], ids=" ".join)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SWAPPED, "keys: ctrl+r is bound to regenerate and new; change one of them"),
        ('[keys]\nnew_conversation = "f6"\n', "unknown action; did you mean 'new'?"),
        ('[ui]\nsubmit_keys = ["ctrl+n"]\n', "keys: ctrl+n is bound to the prompt and new"),
        ('[ui]\ntheme = "pink"\n', "ui.theme: there is no theme 'pink'; choose one of "),
    ],
)
def test_a_wrong_setting_of_the_screen_is_a_config_error_everywhere(
    tmp_path: Path, arguments: tuple[str, ...], text: str, said: str
) -> None:
    file = write_config(tmp_path, text)
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ttchat-tui: {file}: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variable_and_a_flag_are_named_as_the_place(tmp_path: Path) -> None:
    write_config(tmp_path, "[log]\n")
    assert run("-p", "Hello", TTCHAT_KEYS__NEW="ctrl+r").stderr.startswith(
        "ttchat-tui: TTCHAT_KEYS__NEW: keys"
    )
    assert run("-p", "Hello", TTCHAT_THEME="pink").stderr.startswith("ttchat-tui: TTCHAT_THEME: ui.theme")
    assert run("-p", "Hello", "--theme", "pink").stderr.startswith("ttchat-tui: --theme: ")


def test_doctor_reports_it_like_any_config_error(tmp_path: Path) -> None:
    write_config(tmp_path, SWAPPED)
    done = run("doctor")
    assert done.returncode == 1
    assert "✗ config" in done.stdout
    assert "ctrl+r is bound to regenerate and new" in done.stdout


def test_without_keys_and_theme_textual_is_not_imported() -> None:
    check = (
        "from pathlib import Path\n"
        "from ttchat_tui.cli.screen_settings import check_screen_settings\n"
        "from ttchat_tui.config.paths import find_paths\n"
        "from ttchat_tui.config.schema import Config\n"
        "check_screen_settings(Config(), find_paths({}), str)"
    )
    assert "textual" not in loaded_by(check)


def test_an_engines_message_names_the_flag_or_the_variable_that_gave_the_setting(own_folders: Path) -> None:
    words = "is not a server address: 'ftp://x'."
    assert run("-p", "Hello", "--base-url", "ftp://x").stderr.startswith(f"ttchat-tui: --base-url {words}")
    by_variable = run("-p", "Hello", "--engine", "remote", OPENAI_BASE_URL="ftp://x").stderr
    assert by_variable.startswith(f"ttchat-tui: OPENAI_BASE_URL {words}")
    (own_folders / "config").mkdir(exist_ok=True)
    (own_folders / "config" / "config.toml").write_text(
        '[model]\nengine = "remote"\n[remote]\nbase_url = "ftp://x"\n'
    )
    assert run("-p", "Hello").stderr.startswith(f"ttchat-tui: [remote] base_url {words}")
