"""What an owner surely had when he asked: so much, whatever else was on its way."""

from collections import defaultdict

from loadtest.auditor.told import Told
from loadtest.record.words import Request


class SureFunds:
    """From the recorder's file: what had come in for certain, less all that may have gone out."""

    def __init__(self, told: Told) -> None:
        self._came: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self._went: defaultdict[str, list[tuple[float, int, str]]] = defaultdict(list)
        for operation, requests in told.operations.items():
            asked = requests[0].asked
            yes = [(it.ended_s or 0.0, it.answer.body) for it in requests if it.answer.outcome == "ok"]
            if asked.kind in ("topup", "claim") and yes:
                ended_s, body = yes[0]
                self._came[asked.body.get("owner", asked.owner)].append((ended_s, body["amount"]))
            if asked.kind == "send" and any(it.answer.outcome != "fail" for it in requests):
                self._went[asked.owner].append((requests[0].started_s, asked.body["total"], operation))

    def had(self, request: Request) -> int:
        """Of its owner, while this send was under way, itself left out; below zero where that is all that is known."""
        asked, ended_s = request.asked, request.ended_s or 0.0
        came = sum(amount for at_s, amount in self._came[asked.owner] if at_s < request.started_s)
        went = sum(it for at_s, it, of in self._went[asked.owner] if at_s < ended_s and of != asked.operation)
        return came - went
