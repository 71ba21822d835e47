"""The Tenstorrent engine's lines of `doctor`. No card is opened and ttnn is not imported: a model may be running."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.domain.user_paths import current_folder, expanded, home
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check, version_of
from ttchat_tui.engine.tenstorrent.environment import Checkout, find_checkout, is_importable
from ttchat_tui.engine.tenstorrent.holders import named
from ttchat_tui.engine.tenstorrent.mesh import mesh_shape
from ttchat_tui.engine.tenstorrent.source_profile import generation, transformers_pin
from ttchat_tui.engine.tenstorrent.telemetry import System

OLDEST_DRIVER: Final = (1, 33)
OLDEST_FIRMWARE: Final = (18, 7)
"""The requirements of the oldest supported tt-metal (its INSTALLING.md). Newer ones need more, and report it themselves."""
WHEEL_PYTHONS: Final = ((3, 10), (3, 12))
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
    try:
        checkout = find_checkout(options.home, environ, home=home(), current=current_folder())
    except ModelLoadError as error:
        yield Check("tt-metal", "wrong", error.info.message, error.info.cure)
        checkout = None
    if not cards and ttnn is None and checkout is None:
        yield Check("tenstorrent", "ok", "no card, no ttnn, no tt-metal: models run on the CPU")
        return
    yield from _cards(cards)
    if cards:
        yield _driver(system)
        yield from _firmware(cards)
        yield _hugepages(system)
    yield _ttnn(ttnn)
    yield from _checkout(checkout)
    yield from _settings(options, checkout)
    yield from _variables(options, environ)
    yield from request.hub_checks()
    yield _kernel_cache(environ)


def _cards(cards: tuple[CardReading, ...]) -> Iterator[Check]:
    if not cards:
        cure = "Load the driver (`sudo modprobe tenstorrent`); a container needs --device /dev/tenstorrent."
        yield Check("card", "note", "none: no /dev/tenstorrent/*", cure)
    for card in cards:
        figures = [
            f"{value:.0f} {unit}"
            for value, unit in (
                (card.temperature_c, "°C"),
                (card.power_w, "W"),
                (card.clock_mhz, "MHz"),
            )
            if value is not None
        ]
        fact = ", ".join([card.card_type or "type not reported by the driver", *figures])
        if card.holders:
            holders = ", ".join(named(holder) for holder in card.holders)
            cure = f"No model can be loaded on it meanwhile; `kill {card.holders[0].pid}` ends that process."
            yield Check(f"card {card.index}", "note", f"{fact}; open in {holders}", cure)
        else:
            yield Check(f"card {card.index}", "ok", f"{fact}; free")


def _driver(system: System) -> Check:
    version = system.driver_version()
    if not version:
        return Check("driver", "note", "tt-kmd's version cannot be read", "modinfo tenstorrent")
    if _numbers(version) < OLDEST_DRIVER:
        oldest = ".".join(map(str, OLDEST_DRIVER))
        cure = "Update tt-kmd: https://github.com/tenstorrent/tt-kmd"
        return Check("driver", "wrong", f"tt-kmd {version}, older than {oldest}", cure)
    return Check("driver", "ok", f"tt-kmd {version}")


def _firmware(cards: tuple[CardReading, ...]) -> Iterator[Check]:
    for card in cards:
        subject = f"firmware {card.index}"
        if not card.firmware:
            yield Check(subject, "note", "not reported by the driver", "tt-smi -s (while no model runs)")
        elif _numbers(card.firmware) < OLDEST_FIRMWARE:
            oldest = ".".join(map(str, OLDEST_FIRMWARE))
            cure = "Update it with tt-flash: https://github.com/tenstorrent/tt-flash"
            yield Check(subject, "note", f"{card.firmware}, older than {oldest}", cure)
        else:
            yield Check(subject, "ok", card.firmware)


def _hugepages(system: System) -> Check:
    """1 GB pages, which are not needed with an IOMMU."""
    if any((system.root / "sys/kernel/iommu_groups").glob("*")):
        return Check("huge pages", "ok", "not needed: the IOMMU is on")
    file = system.root / "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
    try:
        count = int(file.read_text())
    except (OSError, ValueError):
        count = 0
    if count:
        return Check("huge pages", "ok", f"{count} of 1 GB")
    cure = (
        "Install tenstorrent-hugepages (https://github.com/tenstorrent/tt-system-tools), reboot; "
        "or enable the IOMMU."
    )
    return Check("huge pages", "wrong", "none of 1 GB, and no IOMMU", cure)


def _ttnn(version: str | None) -> Check:
    # A build from source has no version of a wheel. `find_spec` does not import it.
    is_there = version is not None or importlib.util.find_spec("ttnn") is not None
    if is_there:
        return Check("ttnn", "ok", version or "built from source")
    python = sys.version_info[:2]
    cure = "pip install 'ttchat-tui[tt]', or install ttchat-tui into tt-metal's own venv"
    if python not in WHEEL_PYTHONS:
        wheels = " and ".join(".".join(map(str, each)) for each in WHEEL_PYTHONS)
        fact = f"not installed; its wheels are for Python {wheels}, this is {python[0]}.{python[1]}"
        return Check("ttnn", "wrong", fact, f"Make a venv with one of them; in it: {cure}")
    return Check("ttnn", "wrong", "not installed", cure)


def _checkout(checkout: Checkout | None) -> Iterator[Check]:
    if checkout is None:
        if _has_package():
            yield Check("tt-metal", "ok", "no checkout; the standalone tt_transformers package is here (S7)")
            return
        cure = "git clone https://github.com/tenstorrent/tt-metal, then export TT_METAL_HOME=… ([tt] home)"
        yield Check("tt-metal", "wrong", "no checkout with models/tt_transformers was found", cure)
        return
    name = generation(checkout.root)
    where = f"{checkout.root} (by {checkout.found_by})"
    if not name:
        cure = (
            "Use a release from the table in docs/tenstorrent.md (2025-05 to 2026-11), or update ttchat-tui."
        )
        yield Check("tt-metal", "wrong", f"{where}: an unknown API", cure)
    else:
        yield Check("tt-metal", "ok", f"{where}: API generation {name}")
    yield _transformers(checkout)


def _settings(options: TenstorrentOptions, checkout: Checkout | None) -> Iterator[Check]:
    """Settings that this API generation supports only in part, or not at all."""
    name = generation(checkout.root) if checkout is not None else "S7" if _has_package() else ""
    if not name:
        return
    if options.kv_reuse and name != "S6":
        fact = f"needs tt-metal of 2026-08 or newer (S6), this is {name}: every turn is prefilled in full"
        yield Check("kv_reuse", "note", fact, "[tt] kv_reuse = false, or a newer checkout")
    if options.sampling == "device" and name in ("S1", "S3"):
        fact = f"device: with {name} the card always takes the most probable token"
        yield Check("sampling", "note", fact, '[tt] sampling = "host"')


def _has_package() -> bool:
    return is_importable("tt_transformers", "tt_transformers.llm_runtime")


def _transformers(checkout: Checkout) -> Check:
    pinned, here = transformers_pin(checkout.root), version_of("transformers")
    if here is None:
        return Check(
            "transformers", "wrong", "not installed", f"pip install transformers=={pinned or '4.53.0'}"
        )
    if not pinned:
        return Check("transformers", "ok", f"{here}; the checkout pins no version")
    if here == pinned:
        return Check("transformers", "ok", f"{here}, the version that the checkout pins")
    # A difference in the patch version has been harmless, one in the minor version has not.
    is_near = _numbers(here)[:2] == _numbers(pinned)[:2]
    return Check(
        "transformers",
        "ok" if is_near else "note",
        f"{here}; the checkout pins {pinned}",
        "" if is_near else f"pip install transformers=={pinned} if the model fails to load",
    )


def _variables(options: TenstorrentOptions, environ: Mapping[str, str]) -> Iterator[Check]:
    mesh = options.mesh_device or environ.get("MESH_DEVICE", "")
    if mesh:
        try:
            rows, columns = mesh_shape(mesh, _ANY_NUMBER_OF_CHIPS)
            yield Check("mesh", "ok", f"{mesh}: {rows} x {columns} chips")
        except ModelLoadError as error:
            yield Check("mesh", "wrong", error.info.message, error.info.cure)
    else:
        yield Check("mesh", "ok", "MESH_DEVICE is not set: all chips in one row")
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


def _numbers(version: str) -> tuple[int, ...]:
    """`19.8.1.0` and `v2.8.0-bh` as numbers, for comparison."""
    match = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
