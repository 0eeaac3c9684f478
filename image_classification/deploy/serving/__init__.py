"""A predictor behind HTTP: `server.serve(predictor, settings, host, port)`. Wants the extra `serve` (starlette, uvicorn).

`batcher` runs what arrives at the same time as one batch, `uploads` lets in what is safe to decode, `app` answers, `metrics`
counts, `server` keeps connections in bounds and stops gracefully. One process, stateless: any number of them may stand behind
any balancer.
"""
