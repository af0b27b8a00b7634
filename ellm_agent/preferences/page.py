"""The page's server: loopback only, a token in the address, nothing from outside. What it shows is another module's.

Needs starlette and uvicorn (requirements-page.txt).
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ellm_agent.errors import UserError
from ellm_agent.preferences.labels import PREFERRED
from ellm_agent.preferences.person import PersonJudge

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
PAGES = Path(__file__).parent
LARGEST = 10_000  # bytes of a request's body
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; style-src 'self'; script-src 'self'",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}
SCRIPTS = ("page.js", "clips.js", "suggestions.js")
TYPES = {"page.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}


def open_page(judge: PersonJudge, port: int = 0) -> str:
    """Serves the page of two clips from a thread, and prints its address.

    Args:
        judge: takes the choices.
        port: 0: any that is free.

    Raises:
        UserError: if the port is taken, or the server's packages are not installed.
    """
    return serve(lambda token: clips_app(judge, token), port)


def serve(make: Callable[[str], Starlette], port: int) -> str:
    """Serves an application on this machine only, from a daemon thread; returns the address, which it prints.

    Args:
        make: token -> the application.
        port: 0: any that is free.

    Raises:
        UserError: if the port is taken, or the server's packages are not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise UserError("the page needs two more packages: pip install -r requirements-page.txt") from error
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError as error:
        raise UserError(
            f"port {port} cannot be had: {error.strerror}; choose another, or 0 for any"
        ) from error
    token = secrets.token_urlsafe(16)
    config = uvicorn.Config(
        make(token), log_config=None, access_log=False, server_header=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    address = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
    print(f"choose in a browser: {address}", flush=True)
    return address


def clips_app(judge: PersonJudge, token: str) -> Starlette:
    """The page of two clips.

    ====================  ======================================================================
    GET state             JSON: ``PersonJudge.state``
    GET KEY/left, right   the clip as an animated GIF
    POST choice           JSON {"key", "choice"}: "left", "right", "tie" or "unsure"
    POST undo             takes the last choice back
    ====================  ======================================================================
    """
    from starlette.responses import JSONResponse, Response

    def picture(request: Request) -> Response:
        content = judge.picture(request.path_params["key"], request.path_params["side"])
        if content is None:
            return Response(status_code=404)
        return Response(content, media_type="image/gif", headers={"Cache-Control": "private, max-age=3600"})

    def choose(content: Any) -> Response:
        key, choice = content.get("key"), content.get("choice")
        if not isinstance(key, str) or not isinstance(choice, str) or choice not in PREFERRED:
            return JSONResponse({"error": "choice is not one of left, right, tie, unsure"}, 400)
        judge.choose(key, choice)
        return JSONResponse(judge.state())

    def undo(content: Any) -> Response:
        judge.undo()
        return JSONResponse(judge.state())

    pictures = {"/{key}/{side:str}": picture}
    return application("clips.html", token, judge.state, {"choice": choose, "undo": undo}, pictures)


def application(
    page: str,
    token: str,
    state: Callable[[], dict[str, Any]],
    posts: dict[str, Callable[[Any], Response]],
    gets: dict[str, Callable[[Request], Response]] | None = None,
) -> Starlette:
    """A page with its style and script, its state as JSON, and what it may send; all below ``/TOKEN/``.

    Args:
        page: name of the HTML file.
        token: without it every address is refused.
        state: what the page shows.
        posts: path -> answers a JSON object.
        gets: path -> answers a request.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    def guarded(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def guard(request: Request) -> Response:
            if not secrets.compare_digest(request.path_params["token"].encode(), token.encode()):
                response: Response = Response("the address lacks its token\n", 403, media_type="text/plain")
            else:
                response = answer(request)
            response.headers.update(HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guard

    def post(answer: Callable[[Any], Response]) -> Callable[[Request], Any]:
        async def read(request: Request) -> Response:
            # A page of another origin cannot send JSON without asking first, which is refused.
            body = b""
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    return Response(status_code=413)
            return await run_in_threadpool(guarded(lambda _: _json(request, body, answer)), request)

        return read

    def file(name: str, kind: str) -> Callable[[Request], Response]:
        return guarded(lambda request: FileResponse(PAGES / name, media_type=kind))

    routes = [
        Route("/{token}/", file(page, "text/html")),
        Route("/{token}/state", guarded(lambda request: JSONResponse(state()))),
        *(Route(f"/{{token}}/{name}", file(name, kind)) for name, kind in TYPES.items()),
        *(Route(f"/{{token}}/{path}", post(answer), methods=["POST"]) for path, answer in posts.items()),
        *(Route(f"/{{token}}{path}", guarded(answer)) for path, answer in (gets or {}).items()),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])]
    )


def _json(request: Request, body: bytes, answer: Callable[[Any], Response]) -> Response:
    """The answer to a JSON object; an error that a user can correct becomes one line in the page."""
    import json

    from starlette.responses import JSONResponse

    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return JSONResponse({"error": "the request is no JSON"}, 415)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return JSONResponse({"error": "the request is no JSON object"}, 400)
    try:
        return answer(content)
    except UserError as error:
        return JSONResponse({"error": str(error)}, 500)
