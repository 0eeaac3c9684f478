"""Serves a predictor over HTTP: `server.Server(predictor, settings, host, port).run()`. Needs the extra `serve` (starlette,
uvicorn).

`batcher` computes requests that arrive together as one batch. `uploads` accepts only images that are safe to decode. `app`
answers requests, `metrics` counts them, and `server` limits connections and stops gracefully. The server is one stateless
process, so any number of them can run behind a load balancer.
"""
