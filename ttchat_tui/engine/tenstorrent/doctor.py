"""The Tenstorrent engine's lines of `doctor`. No card is opened and ttnn is not imported: a model may be running."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.domain.user_paths import current_folder, expanded, home
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check, version_of
from ttchat_tui.engine.tenstorrent.card_checks import card_checks
from ttchat_tui.engine.tenstorrent.default_mesh import choose_mesh, named_mesh
from ttchat_tui.engine.tenstorrent.environment import (
    Checkout,
    find_checkout,
    has_package,
    is_importable,
    ttnn_cure,
)
from ttchat_tui.engine.tenstorrent.floors import numbers
from ttchat_tui.engine.tenstorrent.mesh import mesh_shape
from ttchat_tui.engine.tenstorrent.sfpi import sfpi_check
from ttchat_tui.engine.tenstorrent.source_profile import (
    MODEL_CONFIG,
    generation,
    p100_fault,
    transformers_pin,
)
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import MOCK, chip_count

_PACKAGES: Final = ("torch", "tokenizers", "safetensors", "numpy", "pydantic", "loguru")
"""What the engine and tt-metal's models import besides transformers."""
_ANY_NUMBER_OF_CHIPS: Final = 1_000


def checks(request: DoctorRequest) -> Iterator[Check]:
    """From the card up to the model; a single line on a machine without anything of Tenstorrent's. Without a card, and with
    another engine configured, nothing is wrong: the chat works without it."""
    system = System.of(request.environ)
    cards = system.read_cards()
    is_needed = bool(cards) or request.is_chosen
    for check in _all(request, system, cards):
        yield (
            check if is_needed or check.verdict != "wrong" else msgspec.structs.replace(check, verdict="note")
        )


def _all(request: DoctorRequest, system: System, cards: tuple[CardReading, ...]) -> Iterator[Check]:
    options: TenstorrentOptions = request.options
    environ = request.environ
    ttnn = version_of("ttnn")
    has_ttnn = ttnn is not None or importlib.util.find_spec("ttnn") is not None
    checkout, problem = _find(options, environ)
    if not cards and not has_ttnn and checkout is None and problem is None:
        yield Check("tenstorrent", "ok", "no card, no ttnn, no tt-metal: models run on the CPU")
        return
    name = generation(checkout) if checkout is not None else "S7" if has_package() else ""
    if mock := environ.get(MOCK):
        yield Check("card", "note", f"a mock: {mock}; no real card is opened", f"unset {MOCK}")
    else:
        yield from card_checks(system, cards, name)
    yield _ttnn(ttnn, has_ttnn)
    if has_ttnn:
        yield _packages()
        yield sfpi_check(system, environ, checkout)
    yield from _checkout(checkout, name) if problem is None else [problem]
    has_p100 = any(card.card_type.lower().startswith("p100") for card in cards)
    if has_p100 and checkout is not None and (fault := p100_fault(checkout.library / MODEL_CONFIG)):
        yield Check("P100", "wrong", fault.message, fault.cure)
    yield from _settings(options, name)
    yield from _variables(options, system, environ)
    yield from request.hub_checks()
    yield _kernel_cache(environ)


def _find(options: TenstorrentOptions, environ: Mapping[str, str]) -> tuple[Checkout | None, Check | None]:
    """The checkout, or the line that says what is wrong with its place."""
    try:
        return find_checkout(options.home, environ, home=home(), current=current_folder()), None
    except ModelLoadError as error:
        return None, Check("tt-metal", "wrong", error.info.message, error.info.cure)


def _ttnn(version: str | None, has_ttnn: bool) -> Check:
    if not has_ttnn:
        return Check("ttnn", "wrong", "not installed", ttnn_cure())
    return Check("ttnn", "ok", version or "built from source")


def _packages() -> Check:
    missing = [name for name in _PACKAGES if not is_importable(name)]
    if not missing:
        return Check("tt packages", "ok", ", ".join(_PACKAGES))
    cure = f"Start ttchat-tui in tt-metal's own venv, or: {install_command(*missing)}"
    return Check("tt packages", "wrong", f"not installed: {', '.join(missing)}", cure)


def _checkout(checkout: Checkout | None, name: str) -> Iterator[Check]:
    if checkout is None:
        if has_package():
            yield Check("tt-metal", "ok", "no checkout; the standalone tt_transformers package is here (S7)")
            return
        cure = f"git clone https://github.com/tenstorrent/tt-metal, then export TT_METAL_HOME=… ({setting('tt.home')})"
        yield Check("tt-metal", "wrong", "no checkout with models/tt_transformers was found", cure)
        return
    where = f"{checkout.root} (by {checkout.found_by})"
    if not name:
        cure = (
            "Use a release from the table in docs/tenstorrent.md (2025-05 to 2026-11), or update ttchat-tui."
        )
        yield Check("tt-metal", "wrong", f"{where}: an unknown API", cure)
    else:
        yield Check("tt-metal", "ok", f"{where}: models/{checkout.library.name}, API generation {name}")
    yield _transformers(checkout)


def _settings(options: TenstorrentOptions, name: str) -> Iterator[Check]:
    """Settings that this API generation supports only in part, or not at all."""
    if not name:
        return
    if options.kv_reuse and name != "S6":
        fact = f"needs tt-metal of 2026-08 or newer (S6), this is {name}: every turn is prefilled in full"
        yield Check("kv_reuse", "note", fact, setting("tt.kv_reuse", "false") + ", or a newer checkout")
    if options.sampling == "device" and name in ("S1", "S3"):
        fact = f"device: with {name} the card always takes the most probable token"
        yield Check("sampling", "note", fact, setting("tt.sampling", '"host"'))
    if options.prefill_trace and name in ("S1", "S3", "S7"):
        fact = (
            f"has no effect with {name}: tt-metal records prefill from 2025-12 (S4) on, its package does not"
        )
        yield Check("prefill_trace", "note", fact, setting("tt.prefill_trace", "false"))


def _transformers(checkout: Checkout) -> Check:
    pinned, here = transformers_pin(checkout), version_of("transformers")
    if here is None:
        return Check(
            "transformers", "wrong", "not installed", install_command(f"transformers=={pinned or '4.53.0'}")
        )
    if not pinned:
        return Check("transformers", "ok", f"{here}; the checkout pins no version")
    if here == pinned:
        return Check("transformers", "ok", f"{here}, the version that the checkout pins")
    # A difference in the patch version has been harmless, one in the minor version has not.
    is_near = numbers(here)[:2] == numbers(pinned)[:2]
    return Check(
        "transformers",
        "ok" if is_near else "note",
        f"{here}; the checkout pins {pinned}",
        "" if is_near else f"{install_command(f'transformers=={pinned}')} if the model fails to load",
    )


def _variables(options: TenstorrentOptions, system: System, environ: Mapping[str, str]) -> Iterator[Check]:
    mesh = named_mesh(options, environ)
    if mesh:
        try:
            rows, columns = mesh_shape(mesh, chip_count(system, environ) or _ANY_NUMBER_OF_CHIPS)
            yield Check("mesh", "ok", f"{mesh}: {rows} x {columns} chips")
        except ModelLoadError as error:
            yield Check("mesh", "wrong", error.info.message, error.info.cure)
    else:
        choice = choose_mesh("", system, environ)
        chosen = "one chip" if choice.note or not choice.name else choice.name
        yield Check("mesh", "note" if choice.note else "ok", f"MESH_DEVICE is not set: {chosen}", choice.note)
    if environ.get("FAKE_DEVICE"):
        yield Check("FAKE_DEVICE", "wrong", "was renamed to MESH_DEVICE", "unset FAKE_DEVICE")


def _kernel_cache(environ: Mapping[str, str]) -> Check:
    folder = expanded(environ.get("TT_METAL_CACHE") or home() / ".cache/tt-metal-cache")
    if os.path.isdir(folder) and any(folder.iterdir()):
        return Check("kernel cache", "ok", str(folder))
    return Check(
        "kernel cache",
        "ok",
        f"empty ({folder}): the first load of a model compiles its kernels, which takes minutes, once",
    )
