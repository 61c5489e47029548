"""The page on a gateway's HTTP door: `/ui/`, the files it is made of, and `/ui/state`.

The files say nothing of the cluster and are for anybody. The state is for
operators where keys are in force: how full the pools are tells a tenant how
much the others ask. Without keys it is as open as everything else, and so
there is no page unless somebody turned it on.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from orchestrator.gateway.caller import Caller
from orchestrator.gateway.errors import Forbidden, NotFound
from orchestrator.gateway.page.files import HEADERS, INDEX, File, load_files
from orchestrator.gateway.page.state import PageState


def add_page(app: FastAPI, state: PageState) -> None:
    """Serve it beside the app's own routes; it is no part of the API's description."""
    files = load_files()

    @app.get("/ui", include_in_schema=False)
    async def ui() -> Response:
        # The page's addresses are relative, so that it works behind any prefix.
        return RedirectResponse("ui/")

    @app.get("/ui/", include_in_schema=False)
    async def index() -> Response:
        return answer(files[INDEX])

    @app.get("/ui/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in files:
            raise NotFound("the page has no such file", code="not_found")
        return answer(files[name])

    @app.get("/ui/state", include_in_schema=False)
    async def page_state(request: Request) -> dict[str, Any]:
        caller: Caller = request.state.caller
        if not caller.is_operator:
            raise Forbidden("the live page is for operators", code="operator_only")
        return state.now()


def answer(file: File) -> Response:
    return Response(file.body, media_type=file.media_type, headers=dict(HEADERS))
