"""`cpm web`: the web server alone."""

from cpm.cli.connection import connect
from cpm.cli.serve import BindOption, PortOption
from cpm.cli.terminal import DataOption
from cpm.server.allinone import certificate_files
from cpm.server.web import Listener, serve


def web(data: DataOption = None, bind: BindOption = None, port: PortOption = None) -> None:
    """Run the API and the console; workers run elsewhere."""
    settings = connect(data)
    certificate, private_key = certificate_files(settings)
    serve(
        Listener(
            host=bind or settings.bind,
            port=settings.port if port is None else port,
            certificate=certificate,
            private_key=private_key,
            workers=settings.web_workers,
            threads=settings.web_threads,
        )
    )
