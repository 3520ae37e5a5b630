"""`drydock-vllm`: a server with the arguments, endpoints, metrics and log lines of `vllm serve`.

What GPU it stands for comes from `--simulate-gpu` or `DRYDOCK_VLLM_GPU`; how much faster than the clock it runs from
`--simulate-speed` or `DRYDOCK_VLLM_SPEED`; the shape of a model that the catalogue does not know from
`--simulate-model` or `DRYDOCK_VLLM_MODEL`. So a chart's own command line starts it unchanged.
"""

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from math import inf

from aiohttp import web

from drydock.engines.catalogue import Model, find_gpu, find_model
from drydock.engines.engine_args import EngineArgs, parse
from drydock.errors import DrydockError, UsageError
from drydock.simulator.http_api import Api, metrics_for
from drydock.simulator.live_engine import LiveEngine
from drydock.simulator.profile import Setup, setup
from drydock.simulator.protocol import validators

VERSION = "0.26.0"
"""Of the vLLM that is simulated."""

_SECRET = frozenset({"api_key", "hf_token"})
_UNSET = (None, False)

log = logging.getLogger("vllm")


class _VllmFormatter(logging.Formatter):
    """`(APIServer pid=1) INFO 11-21 03:10:11 [file.py:1] ...`, and uvicorn's shorter form for its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"(APIServer pid={os.getpid()}) "
        if record.name == "uvicorn":
            return f"{prefix}{record.levelname + ':':<10}{record.getMessage()}"
        where = getattr(record, "where", "api_server.py:1")
        return f"{prefix}{record.levelname} {self.formatTime(record, '%m-%d %H:%M:%S')} [{where}] {record.getMessage()}"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; exit status 0, or 2 for wrong arguments and 1 where vLLM would not start."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        arguments = arguments[1:]
    elif arguments[:2] == ["-m", "vllm.entrypoints.openai.api_server"]:
        arguments = arguments[2:]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_VllmFormatter())
    logging.basicConfig(level=os.environ.get("VLLM_LOGGING_LEVEL", "INFO"), handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        args = parse(arguments)
        chosen = chosen_setup(args)
        asyncio.run(serve(args, chosen))
    except DrydockError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", args.values["host"] or "0.0.0.0", args.values["port"], error.strerror)  # noqa: S104, TRY400
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def chosen_setup(args: EngineArgs) -> Setup:
    """The engine that stands behind the server."""
    values = args.values
    if not args.model:
        raise UsageError("vllm serve: error: no model was given", remedy="name one: drydock-vllm MODEL")
    gpu = os.environ.get("DRYDOCK_VLLM_GPU") or values["simulate_gpu"]
    return setup(find_gpu(gpu), _model(args), args)


def _model(args: EngineArgs) -> Model:
    """By the name that says its shape; weights in a folder by their source, else by their served names."""
    shape = args.values["simulate_model"] or os.environ.get("DRYDOCK_VLLM_MODEL")
    others: list[str] = []
    if not shape and args.model.startswith("/"):
        others = [os.environ.get("DRYDOCK_VLLM_WEIGHTS") or args.model, *(args.values["served_model_name"] or ())]
    try:
        return find_model(shape or args.model)
    except UsageError as error:
        for name in others:
            with contextlib.suppress(UsageError):
                return find_model(name)
        raise UsageError(
            error.message, remedy=f"say whose shape it has with --simulate-model or DRYDOCK_VLLM_MODEL; {error.remedy}"
        ) from error


def _speed(args: EngineArgs) -> float:
    """Simulated seconds a second."""
    given = os.environ.get("DRYDOCK_VLLM_SPEED") or args.values["simulate_speed"]
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not 0 < speed < inf:
        raise UsageError(
            f"the speed of the simulation must be a number above 0, not {given}",
            remedy="change --simulate-speed or DRYDOCK_VLLM_SPEED; 1 is real time",
        )
    return speed


async def serve(args: EngineArgs, chosen: Setup) -> None:
    """Log what vLLM logs, listen, and end gracefully on SIGTERM or SIGINT."""
    values = args.values
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    speed = _speed(args)
    _log_start(args, chosen)
    if values["simulate_startup_seconds"] and await _set_within(stop, values["simulate_startup_seconds"]):
        return
    validators()
    log_stats = not values["disable_log_stats"]
    engine = LiveEngine(chosen, metrics_for(args, chosen), speed=speed, log_stats=log_stats)
    api = Api(engine, args, VERSION)
    running = asyncio.create_task(engine.run())
    runner = web.AppRunner(api.application(), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await _site(runner, args).start()
    _uvicorn("Application startup complete.")
    if not values["uds"] and values["port"] == 0:
        host, port = runner.addresses[0][:2]
        _uvicorn(f"Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
    _uvicorn("Shutting down")
    api.closing = True
    for site in tuple(runner.sites):
        await site.stop()
    if not await _drained(engine, values["shutdown_timeout"]):
        await _stuck(engine, running)
    engine.abort_all()
    _uvicorn("Waiting for application shutdown.")
    await runner.cleanup()
    if running.done() and not running.cancelled():
        running.result()
    running.cancel()
    _uvicorn("Application shutdown complete.")
    _uvicorn(f"Finished server process [{os.getpid()}]")


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _drained(engine: LiveEngine, seconds: float) -> bool:
    """Wait for requests under way, for so long at most; false where some are left. Zero seconds wait for none."""
    tickets = engine.open_tickets()
    if not tickets or not seconds:
        return True
    log.info("Draining %d in-flight requests (timeout: %ss)", len(tickets), seconds)
    await asyncio.wait([asyncio.ensure_future(ticket.done.wait()) for ticket in tickets], timeout=seconds)
    return not engine.open_tickets()


async def _stuck(engine: LiveEngine, running: asyncio.Task[None]) -> None:
    """What vLLM 0.26 does with streams that outlast the drain: it kills the engine, and waits for their clients.

    They get no more tokens, no error and no end; measured on H200 in November 2026. SIGKILL ends it, or the clients do.
    """
    log.warning("force killing remaining processes count=1")
    running.cancel()
    _uvicorn("Waiting for connections to close. (CTRL+C to force quit)")
    while tickets := engine.open_tickets():
        await asyncio.wait([asyncio.ensure_future(ticket.done.wait()) for ticket in tickets])


def _site(runner: web.AppRunner, args: EngineArgs) -> web.BaseSite:
    values = args.values
    if values["uds"]:
        return web.UnixSite(runner, values["uds"])
    context = None
    if values["ssl_certfile"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(values["ssl_certfile"], values["ssl_keyfile"])
    return web.TCPSite(runner, values["host"], values["port"], ssl_context=context, backlog=2048)


def _uvicorn(message: str) -> None:
    logging.getLogger("uvicorn").info(message)


def _log_start(args: EngineArgs, chosen: Setup) -> None:
    """The lines that people look for in the log of a start."""
    memory, limits = chosen.memory, chosen.limits
    given = {name: value for name, value in args.values.items() if name not in _SECRET and value not in _UNSET}

    def say(where: str, text: str, *values: object) -> None:
        log.info(text, *values, extra={"where": where})

    say("api_server.py:1397", "vLLM API server version %s (simulated by drydock-vllm)", VERSION)
    say("utils.py:253", "non-default args: %s", given)
    say("model.py:530", "Using max model len %d", chosen.max_model_len)
    say("scheduler.py:226", "Chunked prefill is enabled with max_num_batched_tokens=%d.", limits.max_num_batched_tokens)
    say("gpu_model_runner.py:4120", "Model loading took %.4f GiB memory and 0.0 seconds", memory.weights_gib)
    say("gpu_worker.py:424", "Available KV cache memory: %.2f GiB", memory.available_kv_gib)
    say("kv_cache_utils.py:1307", "GPU KV cache size: %s tokens", f"{memory.tokens:,}")
    say(
        "kv_cache_utils.py:1312",
        "Maximum concurrency for %s tokens per request: %.2fx",
        f"{memory.max_model_len:,}",
        memory.max_concurrency,
    )
    say("core.py:284", "init engine (profile, create kv cache, warmup model) took 0.00 seconds")
    profile = chosen.profile
    say(
        "profile.py:1",
        "Simulating %s on %d x %s with profile %s (%s)",
        profile.model.name,
        args.tensor_parallel_size,
        profile.gpu.name,
        profile.name,
        "measured" if profile.fitted else "scaled by the roofline",
    )
    host = args.values["host"] or "0.0.0.0"  # noqa: S104 (what vLLM listens on)
    say("api_server.py:580", "Starting vLLM server on http://%s:%d", host, args.values["port"])
    _uvicorn(f"Started server process [{os.getpid()}]")
    _uvicorn("Waiting for application startup.")


if __name__ == "__main__":
    sys.exit(main())
