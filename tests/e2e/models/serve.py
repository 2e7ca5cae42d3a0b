"""Runs llama.cpp's own HTTP server on loopback until its input ends: serve.py MODEL PORT"""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
params.n_ctx = 32768  # shared by the slots
params.n_parallel = 2
params.use_jinja = True
params.endpoint_metrics = True
params.endpoint_slots = True
params.warmup = False
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
