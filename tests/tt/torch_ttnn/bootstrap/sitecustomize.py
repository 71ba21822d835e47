"""Python imports this first in a process that has this folder in PYTHONPATH: `shadow` follows the first import of ttnn.

ttnn reads its variables at its import, which is the engine's to time, so nothing is imported before.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType


class _AfterTtnn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ttnn as the other finders do, and installs the shadow once it is imported."""

    _loader: importlib.abc.Loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "ttnn":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)  # To look for ttnn is not yet to import it.
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        from tests.tt.torch_ttnn import shadow

        shadow.install()


sys.meta_path.insert(0, _AfterTtnn())
