"""A stand-in for `vllm serve` that behaves in time as the real engine does.

One discrete-event engine (`engine`) composes batches by vLLM's rules and asks `timing` how long each takes.
`simulation` runs it without HTTP; `server` runs the same engine against the clock behind the OpenAI API. `memory` says
whether a model fits, `calibration` fits a profile from measurements.
"""
