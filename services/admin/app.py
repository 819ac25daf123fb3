"""The admin's FastAPI app, and the web pages beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from services.admin import channels, incidents, monitors, poison, status_pages, system, tokens
from services.admin.neighbours import Neighbours
from services.admin.pages.app import Beside, create_pages
from shared.body_limit import BodyLimit
from shared.connection import Store
from shared.secrets import load_key
from shared.settings import Settings
from shared.web import create_api


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The admin; ConfigError when there is no key for the channels' secrets.

    The end of its lifespan closes the connections to the other services.
    """
    neighbours = Neighbours(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await neighbours.aclose()

    app = create_api("MishPulse admin", store, settings, lifespan)
    app.state.box = load_key(
        settings.secret_key, Path(settings.secret_key_file) if settings.secret_key_file else None, create=True
    )
    app.state.neighbours = neighbours
    app.add_middleware(Beside, pages=create_pages(app))
    app.add_middleware(BodyLimit)
    for resource in (monitors, incidents, channels, tokens, status_pages, system, poison):
        app.include_router(resource.router)

    @app.get("/api/openapi.json", tags=["about"])
    def openapi() -> dict[str, Any]:
        """The API as an OpenAPI document."""
        return app.openapi()

    return app
