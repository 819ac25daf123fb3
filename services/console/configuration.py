"""`mishpulse export` and `mishpulse import`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from services.console import place
from services.console.output import Output
from services.console.verbs import AsJson, Data
from shared.errors import PulseError


def register(app: typer.Typer) -> None:
    """Makes them commands of `app`."""

    @app.command()
    def export(
        output: Annotated[
            Path | None, typer.Option(help="The file to write (mode 0600); else stdout.")
        ] = None,
        with_secrets: Annotated[
            bool, typer.Option("--with-secrets", help="Write secrets in the open; else they stay sealed.")
        ] = False,
        data: Data = None,
    ) -> None:
        """The whole configuration as YAML: monitors and API tokens with hashes, channels, webhooks."""
        from services.console import exporting  # noqa: PLC0415 - only what is used

        async def collected(store: Any, settings: Any) -> str:
            box = _box(settings) if with_secrets else None
            return exporting.dump(await exporting.collect(store, box))

        text = _with_store(data, collected)
        if output is None:
            typer.echo(text, nl=False)
        else:
            exporting.write(output, text)

    @app.command(name="import")
    def import_(
        file: Annotated[str, typer.Argument(help="What `export` wrote; - reads standard input.")],
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Change what is here and differs.")
        ] = False,
        data: Data = None,
        as_json: AsJson = False,
    ) -> None:
        """Puts an exported configuration in, ids and tokens included; what is equal is left alone."""
        from services.console import importing, marked, records  # noqa: PLC0415 - only what is used

        wanted = marked.read(file).check(records.Configuration)

        async def put(store: Any, settings: Any) -> dict[str, int]:
            return await importing.put(store, wanted, _box(settings), overwrite=overwrite)

        count = _with_store(data, put)
        sentence = f"{count['new']} new, {count['changed']} changed, {count['equal']} as they were"
        Output(as_json=as_json).done(sentence, count)


def _box(settings: Any) -> Any:
    from shared.secrets import load_key  # noqa: PLC0415 - only what is used

    return load_key(settings.secret_key, Path(settings.secret_key_file) if settings.secret_key_file else None)


def _with_store(data: Path | None, work: Any) -> Any:
    """What `await work(store, settings)` returns; PulseError when Redis does not answer or goes away."""
    import asyncio  # noqa: PLC0415 - only what is used

    from services import process  # noqa: PLC0415
    from services.console.local import settings_of  # noqa: PLC0415
    from shared import logs  # noqa: PLC0415
    from shared.connection import is_away  # noqa: PLC0415

    logs.setup("cli", "error")
    settings = settings_of(place.find_redis(data))

    async def run() -> Any:
        store = await process.open_reachable(settings)
        try:
            return await work(store, settings)
        except Exception as error:
            if is_away(error):
                raise PulseError(f"Redis went away ({error}); run it again when it is back") from None
            raise
        finally:
            await store.redis.aclose()

    return asyncio.run(run())
