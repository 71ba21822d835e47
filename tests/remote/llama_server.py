"""llama.cpp's own HTTP server, out of its Python wheel: `python llama_server.py MODEL.gguf PORT`."""

import sys
import time

import xllamacpp  # pyright: ignore[reportMissingImports]

params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.model_alias = {"small"}
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 1024, 1, 2
server = xllamacpp.Server(params)  # it serves from a thread of its own
while True:
    time.sleep(60)
