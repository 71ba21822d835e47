"""Make the README's pictures: the real app with the real model in a pseudo-terminal, used by a script.

pip install pillow; .venv/bin/python docs/recording.py [folder]     writes demo.gif and *.png to docs/images, or to the folder

What the terminal received is kept with its times, and drawn afterwards: drawing does not slow the app down.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyte

sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image  # pyright: ignore[reportMissingImports]

from docs.terminal_image import image_of
from tests.terminal.pty_app import PtyApp
from ttchat_tui.config.paths import find_paths

FRAMES_PER_S: Final = 6
COLOURS: Final = 96
SAMPLES: Final = 11
"""Frames from which the palette is made, spread over the recording."""
KEY_S: Final = 0.03
"""Between two keys."""
SETTLE_S: Final = 0.05
"""What one change of the screen may take to arrive: no frame shows half of it."""
LONGEST_PAUSE_MS: Final = 2_500
QUESTION: Final = "Write a Python class for a stack with push, pop and peek, then explain each method."
FLAGS: Final = ("--temperature", "0", "--max-tokens", "260")

ESCAPE, UP = "\x1b", "\x1b[A"
RETRY, COMMANDS = "\x12", "\x10"
INSPECT = "\x1b[17~"
"""F6."""
OLDER_VERSION, SEARCH = "\x1bh", "\x1bs"
"""alt+h, alt+s."""


class Recorded(PtyApp):
    """Keeps each piece of output with its time."""

    def __init__(self, folder: Path, size: tuple[int, int], *flags: str) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.shown_from = 0
        """The piece with which the recording begins."""
        models = str(find_paths(os.environ).cache_dir)
        super().__init__(folder, *FLAGS, *flags, size=size, TTCHAT_CACHE_DIR=models)

    def read(self, timeout_s: float) -> bool:
        before = len(self.received)
        is_open = super().read(timeout_s)
        if piece := bytes(self.received[before:]):
            self.pieces.append((time.monotonic(), piece))
        return is_open

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def keys(self, text: str) -> None:
        for key in text:
            self.type(key)
            self.wait(KEY_S)

    def ask(self, question: str) -> None:
        self.keys(question)
        self.wait(0.4)
        self.type("\r")
        self.until("generating")


def demo(app: Recorded) -> None:
    """What the recording shows."""
    app.until("● ready")
    app.wait(0.5)
    app.shown_from = len(app.pieces)
    app.ask(QUESTION)
    app.until("● ready")
    app.wait(1.5)
    app.type(RETRY)
    app.wait(1.5)
    app.type(ESCAPE)
    app.wait(1.0)
    app.type(OLDER_VERSION)
    app.wait(1.2)
    app.type(SEARCH)
    app.wait(0.6)
    app.keys("peek")
    app.wait(1.5)
    app.type(ESCAPE)
    app.wait(0.5)
    app.type(COMMANDS)
    app.wait(0.6)
    app.keys("theme")
    app.wait(0.6)
    app.type("\r")
    app.wait(0.8)
    for _ in range(2):
        app.type(UP)
        app.wait(0.8)
    app.type(ESCAPE)
    app.wait(1.0)


def frames(app: Recorded) -> list[tuple[Image.Image, int]]:
    """Each different screen, and how long it is seen in milliseconds."""
    screen = pyte.Screen(app.columns, app.rows)
    stream = pyte.ByteStream(screen)
    for _, piece in app.pieces[: app.shown_from]:
        stream.feed(piece)
    left = app.pieces[app.shown_from :]
    step, at, found = 1 / FRAMES_PER_S, left[0][0], [(image_of(screen), 500)]
    while left:
        at += step
        due = [piece for when, piece in left if when <= at + SETTLE_S]
        left = left[len(due) :]
        for piece in due:
            stream.feed(piece)
        image, shown = found[-1]
        if due:
            found.append((image_of(screen), round(1000 * step)))
        else:
            found[-1] = image, min(shown + round(1000 * step), LONGEST_PAUSE_MS)
    return found


def write_gif(found: list[tuple[Image.Image, int]], path: Path) -> None:
    """One palette for all frames: colours do not flicker, and only what changed is stored."""
    width, height = found[0][0].size
    samples = [found[place * (len(found) - 1) // SAMPLES][0] for place in range(SAMPLES + 1)]
    sheet = Image.new("RGB", (width, height * len(samples)))
    for place, image in enumerate(samples):
        sheet.paste(image, (0, place * height))
    palette = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image, _ in found]
    durations = [shown for _, shown in found]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)


def picture(to: Path, size: tuple[int, int], theme: str) -> None:
    """A conversation of one turn, at twice the size for dense displays."""
    with recorded(size, "--theme", theme) as app:
        app.until("● ready")
        app.ask("Name three old kinds of clocks.")
        app.until("● ready")
        app.wait(0.5)
        image_of(app.screen, scale=2).quantize(256).save(to, optimize=True)


def loop_pictures(to: Path) -> None:
    """The screens that show the decode loop: inspector, preview, candidates, timeline."""

    def save(name: str) -> None:
        app.wait(1.5)
        image_of(app.screen, scale=2).quantize(256).save(to / f"{name}.png", optimize=True)

    with recorded((120, 40), "--temperature", "0.7", "--seed", "7") as app:
        app.until("● ready")
        app.ask("Name three old kinds of clocks.")
        app.until("● ready")
        app.type(INSPECT)
        app.wait(1.0)
        app.keys("t" + "n" * 3)
        save("inspector")
        app.type(ESCAPE)
        app.wait(0.5)
        app.keys("/preview")
        app.type("\r")
        save("preview")
        app.keys(
            "/candidates 4 temperature=0.2..1.4 Describe an old clock tower at night, in a short paragraph."
        )
        app.type("\r")
        app.until("d compare")
        app.until(lambda text: text.count("✓") >= 4)
        save("candidates")
        app.type(ESCAPE)
        app.wait(0.5)
        app.keys("/timeline")
        app.type("\r")
        save("timeline")


@contextmanager
def recorded(size: tuple[int, int], *flags: str) -> Iterator[Recorded]:
    with tempfile.TemporaryDirectory() as folder:
        app = Recorded(Path(folder), size, *flags)
        try:
            yield app
        finally:
            app.close()


def main() -> None:
    to = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images")
    to.mkdir(exist_ok=True)
    with recorded((110, 32)) as app:
        demo(app)
        write_gif(frames(app), to / "demo.gif")
    picture(to / "light.png", (110, 34), "tenstorrent-light")
    picture(to / "small.png", (60, 20), "tenstorrent-dark")
    loop_pictures(to)


if __name__ == "__main__":
    main()
