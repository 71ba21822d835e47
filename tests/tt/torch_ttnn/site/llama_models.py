"""Stands for llama_models and for the reference model in tt-metal's git submodule. Checkouts before 2026 import classes of
theirs, for pictures and for tests of their own, before they load a model."""

import itertools
import sys
import types


class _Names(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _module in (
    "llama_models.llama3.api.chat_format",
    "llama_models.llama3.api.datatypes",
    "llama_models.llama3.reference_impl.generation",
    "llama_models.llama3.reference_impl.multimodal.encoder_utils",
    "llama_models.llama3.reference_impl.multimodal.image_transform",
    "models.demos.t3000.llama2_70b.reference.llama.llama31_8b.model",
):
    _, *_names = itertools.accumulate(_module.split("."), "{}.{}".format)
    sys.modules.update({_name: _Names(_name) for _name in _names if _name not in sys.modules})
