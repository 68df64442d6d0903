"""HTTP/1.1 as the API speaks it: its refusals are problems too, and its answers are gathered."""

import asyncio

from redpacket.ops.protocol import LimitedProtocol
from redpacket.ops.request_id import new_request_id
from redpacket.ops.unreadable import UnreadableError
from service.problems import MEDIA_TYPE, Code, ProblemError
from service.transport import GatheringTransport

_CODES = {
    code.status: code
    for code in (Code.INVALID_REQUEST, Code.METHOD_NOT_ALLOWED, Code.REQUEST_TIMEOUT, Code.HEADERS_TOO_LARGE)
}


class ApiProtocol(LimitedProtocol):
    """One connection."""

    methods = "GET, HEAD, POST"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(GatheringTransport(transport, self.loop))  # type: ignore[arg-type]

    def tell(self, refused: UnreadableError) -> tuple[dict[str, str], bytes]:
        problem = ProblemError(_CODES[refused.status], refused.detail, refused.headers)
        # What could not be read may have had an id; the answer has one in any case.
        return {"content-type": MEDIA_TYPE, "x-request-id": new_request_id(), **problem.headers}, problem.body()
