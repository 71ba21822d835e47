"""Where tt-metal is found, and what its environment is set to."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from ttchat_tui.domain.installation import install_command
from ttchat_tui.engine.base import MissingDependency, ModelLoadError
from ttchat_tui.engine.tenstorrent import environment
from ttchat_tui.engine.tenstorrent.environment import (
    GENERATOR,
    LIBRARIES,
    Checkout,
    EnvironmentSettings,
    applied,
    cache_parent,
    choose_api,
    find_checkout,
    importable_library,
    model_folder,
    require_whole_chunks,
    variables,
)


def checkout_at(root: Path) -> Path:
    file = root / "models" / "tt_transformers" / "tt" / "generator.py"
    file.parent.mkdir(parents=True)
    file.touch()
    return root


def test_the_variables_come_before_the_configuration_and_the_usual_places(tmp_path: Path) -> None:
    places = {name: checkout_at(tmp_path / name) for name in ("home", "runtime", "configured", "here")}
    checkout_at(tmp_path / "user" / "tt-metal")
    environ = {"TT_METAL_HOME": str(places["home"]), "TT_METAL_RUNTIME_ROOT": str(places["runtime"])}
    user, here = tmp_path / "user", places["here"]

    def found(configured: str = "", **kept: str) -> Checkout | None:
        return find_checkout(configured, kept, home=user, current=here)

    assert found(str(places["configured"]), **environ) == Checkout(places["home"], "TT_METAL_HOME")
    del environ["TT_METAL_HOME"]
    assert found(str(places["configured"]), **environ) == Checkout(places["runtime"], "TT_METAL_RUNTIME_ROOT")
    assert found(str(places["configured"])) == Checkout(places["configured"], "[tt] home")
    assert found() == Checkout(user / "tt-metal", "~/tt-metal")
    assert find_checkout("", {}, home=tmp_path, current=here) == Checkout(here, "the current folder")
    assert find_checkout("", {}, home=tmp_path, current=tmp_path) is None


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_library_is_found_by_its_generator_whatever_else_lies_there(tmp_path: Path, name: str) -> None:
    for other in LIBRARIES:
        (tmp_path / "models" / other / "tt" / "__pycache__").mkdir(parents=True)
    assert find_checkout("", {}, home=tmp_path, current=tmp_path) is None
    (tmp_path / "models" / name / GENERATOR).touch()
    found = find_checkout("", {}, home=tmp_path, current=tmp_path)
    assert found is not None
    assert found.library == tmp_path / "models" / name


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_on_the_python_path_needs_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As in tt-metal's own venv, whose PYTHONPATH is the checkout."""
    for module in [each for each in sys.modules if each.partition(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    assert importable_library() == ""
    (tmp_path / "models" / name / "tt").mkdir(parents=True)
    (tmp_path / "models" / name / GENERATOR).touch()
    importlib.invalidate_caches()
    assert importable_library() == name


def test_a_runtime_root_without_models_is_skipped(tmp_path: Path) -> None:
    here = checkout_at(tmp_path / "here")
    found = find_checkout("", {"TT_METAL_RUNTIME_ROOT": str(tmp_path)}, home=tmp_path, current=here)
    assert found is not None
    assert found.root == here


def test_a_configured_home_without_models_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"\[tt\] home"):
        find_checkout(str(tmp_path), {}, home=tmp_path, current=tmp_path)


def importable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def is_importable(parent: str, *children: str) -> bool:
        return {parent, *children} <= set(names)

    monkeypatch.setattr(environment, "is_importable", is_importable)


def test_with_both_apis_installed_the_generator_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    importable(monkeypatch, "ttnn", "tt_transformers", "tt_transformers.llm_runtime")
    assert choose_api("auto", Checkout(tmp_path, "TT_METAL_HOME"), {}) == "generator"
    assert choose_api("auto", None, {}) == "package"
    assert choose_api("package", Checkout(tmp_path, "TT_METAL_HOME"), {}) == "package"


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importable(monkeypatch)
    with pytest.raises(MissingDependency) as no_ttnn:
        choose_api("auto", None, {})
    assert "ttnn" in str(no_ttnn.value)
    assert "ttchat-tui[tt]" in no_ttnn.value.info.cure
    # tt-metal/models on the path gives a tt_transformers as well, which is not the standalone package.
    importable(monkeypatch, "ttnn", "tt_transformers")
    with pytest.raises(MissingDependency) as no_models:
        choose_api("auto", None, {})
    assert "TT_METAL_HOME" in no_models.value.info.cure


@pytest.mark.parametrize("variable", ["TT_METAL_HOME", "TT_METAL_RUNTIME_ROOT"])
def test_a_variable_that_names_no_folder_is_wrong_by_its_name(variable: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as error:
        find_checkout("", {variable: "/nope"}, home=tmp_path, current=checkout_at(tmp_path / "here"))
    assert str(error.value) == f"{variable}=/nope is not a folder."
    assert variable in error.value.info.cure


@pytest.mark.parametrize("variable", ["TT_METAL_HOME", "TT_METAL_RUNTIME_ROOT"])
def test_a_variable_without_models_is_named_where_no_other_place_has_them(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    importable(monkeypatch, "ttnn")
    environ = {variable: str(tmp_path)}
    assert find_checkout("", environ, home=tmp_path, current=tmp_path) is None
    with pytest.raises(MissingDependency, match=f"{variable}={tmp_path} has none"):
        choose_api("auto", None, environ)


@pytest.mark.parametrize(
    ("version", "is_offered"), [((3, 10), True), ((3, 11), False), ((3, 12), True), ((3, 13), False)]
)
def test_the_extra_is_offered_alone_only_where_it_brings_ttnn(
    version: tuple[int, int], is_offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (*version, 0))
    cure = environment.ttnn_cure()
    assert cure.startswith(install_command("ttchat-tui[tt]")) == is_offered
    assert ("make a venv" in cure) != is_offered
    assert "tt-metal's own venv" in cure


def wanted(**changes: object) -> EnvironmentSettings:
    settings: dict[str, object] = {
        "hf_model": "/models/Llama",
        "is_local": True,
        "cache_dir": Path("/cache/model"),
        "logs_dir": Path("/cache/native"),
        "checkout": Checkout(Path("/tt-metal"), "~/tt-metal"),
        "operation_timeout_s": 60,
        **changes,
    }
    return EnvironmentSettings(**settings)  # pyright: ignore[reportArgumentType]


def test_variables_that_the_user_set_stay_except_for_the_model() -> None:
    theirs = {"TT_LOGGER_LEVEL": "debug", "HF_MODEL": "another"}
    changes = variables(wanted(), theirs)
    assert changes["HF_MODEL"] == "/models/Llama"
    assert "TT_LOGGER_LEVEL" not in changes
    assert changes["TT_METAL_HOME"] == "/tt-metal"
    assert changes["TT_METAL_OPERATION_TIMEOUT_SECONDS"] == "60"


def test_the_variables_of_one_load_are_restored_after_it() -> None:
    environ = {"HF_MODEL": "theirs"}
    with applied(variables(wanted(), environ), environ):
        assert (environ["HF_MODEL"], environ["HF_HUB_OFFLINE"]) == ("/models/Llama", "1")
    assert environ["HF_MODEL"] == "theirs"
    assert "HF_HUB_OFFLINE" not in environ
    assert environ["TT_METAL_LOGS_PATH"] == "/cache/native"


@pytest.mark.parametrize("theirs", ["", "/theirs"])
def test_each_load_has_its_own_place_for_weights_and_leaves_the_users_as_it_was(theirs: str) -> None:
    environ = {"TT_CACHE_PATH": theirs} if theirs else {}
    before = dict(environ)
    for name in ("one", "two"):
        cache = cache_parent("/configured", environ, Path("/models/Llama"))
        assert cache == Path(theirs or "/configured")
        with applied(variables(wanted(cache_dir=cache / name), environ), environ):
            assert environ["TT_CACHE_PATH"] == f"{theirs or '/configured'}/{name}"
        assert environ.get("TT_CACHE_PATH") == before.get("TT_CACHE_PATH")
    assert cache_parent("", {}, Path("/models/Llama")) == Path("/models/tenstorrent")


@pytest.mark.parametrize(
    ("size", "is_right"),
    [
        ("", True),
        ("2", True),
        ("32", True),
        ("0", False),
        ("3", False),
        ("-4", False),
        ("4k", False),
        ("²", False),
    ],
)
def test_a_chunk_of_prefill_is_a_multiple_of_2048_tokens(size: str, is_right: bool) -> None:
    with nullcontext() if is_right else pytest.raises(ModelLoadError, match="multiples of 2,048"):
        require_whole_chunks({"MAX_PREFILL_CHUNK_SIZE": size})


def test_without_a_limit_no_time_out_is_set() -> None:
    assert "TT_METAL_OPERATION_TIMEOUT_SECONDS" not in variables(wanted(operation_timeout_s=0), {})


def test_a_folder_under_another_name_is_reached_through_the_models_own(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    links = tmp_path / "links"
    named = model_folder(snapshot, "meta-llama/Llama-3.1-8B-Instruct", links)
    assert named.name == "Llama-3.1-8B-Instruct"
    assert named.resolve() == snapshot
    moved = tmp_path / "snapshots" / "4567"
    moved.mkdir()
    assert model_folder(moved, "meta-llama/Llama-3.1-8B-Instruct", links).resolve() == moved
    assert named.resolve() == snapshot  # Another process may be loading it.
    assert model_folder(snapshot, "meta-llama/Llama-3.1-8B-Instruct", links) == named
    own = tmp_path / "Llama-3.1-8B-Instruct"
    own.mkdir()
    assert model_folder(own, "meta-llama/Llama-3.1-8B-Instruct", links) == own
    for name in ("", "a/" + "long" * 100, "a/b c", "a/.."):
        assert model_folder(snapshot, name, links) == snapshot


def test_nothing_native_is_written_into_the_users_folder() -> None:
    changes = variables(wanted(), {})
    written = [changes[name] for name in ("TT_CACHE_PATH", "TT_METAL_LOGS_PATH")]
    assert all(Path(folder).is_absolute() for folder in written)
