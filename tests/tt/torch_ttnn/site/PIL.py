"""Stands for Pillow, of which tt_transformers names a class: pictures are no part of this chat.

No package: `import PIL.Image` fails, by which transformers knows that there is no Pillow.
"""

from types import SimpleNamespace

Image = SimpleNamespace(Image=type("Image", (), {}))
