"""llama.cpp's own HTTP server, out of its Python wheel: `python llama_server.py MODEL.gguf PORT [TEMPLATE]`.

With a chat template that opens a thought, a grammar makes the model think for a while and then answer.
"""

import sys
import time
from pathlib import Path

import xllamacpp  # pyright: ignore[reportMissingImports]

params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.model_alias = {"small"}
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 1024, 1, 2
if len(sys.argv) > 3:
    params.use_jinja = True
    params.chat_template = Path(sys.argv[3]).read_text()
    grammar = 'root ::= [a-z ,]{40,60} ".\\n</think>\\n\\n" [a-z ,.]+'
    params.sampling.grammar = type(params.sampling.grammar)(1, grammar)  # 1: the user's own
server = xllamacpp.Server(params)  # it serves from a thread of its own
while True:
    time.sleep(60)
