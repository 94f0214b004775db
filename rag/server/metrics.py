"""Metrics for Prometheus at `/metrics`: numbers of questions, their outcomes and durations.

They consist of numbers and fixed names only: no text of questions or articles.
"""

from collections.abc import Callable
from typing import Any

from rag.models import memory
from rag.server.request_log import Channel, Outcome, RequestRecord
from rag.server.service import ChatService, Ready
from rag.store.reader import IndexReader

BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper bounds of the histograms' buckets, in seconds."""

QUEUE_STAGE = "wait_in_line"
"""Name of the time in the queue, beside the stages of an answer."""


class Metrics:
    """Counters and histograms of questions since the start, and gauges of the service's state."""

    def __init__(self, service: ChatService) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self._questions = Counter(
            "footnote_questions",
            "Questions that have ended, by the protocol that they came by and how they ended.",
            ["face", "mode"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "footnote_question_seconds",
            "Seconds from arrival to end, those in the queue included.",
            ["face"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "footnote_stage_seconds",
            "Seconds of each stage of a question.",
            ["stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "footnote_tokens",
            "Tokens that the language model has read and written.",
            ["kind"],
            registry=self.registry,
        )
        self._max_position = 0
        for channel in Channel:
            for outcome in Outcome:
                self._questions.labels(channel.value, outcome.value)
        self._add_gauges(service)

    def count(self, record: RequestRecord) -> None:
        """Count a question that has ended."""
        channel = record.channel.value
        self._questions.labels(channel, record.outcome.value).inc()
        if record.outcome is Outcome.BUSY:
            return
        self._seconds.labels(channel).observe(record.total_s)
        for stage, seconds in {QUEUE_STAGE: record.queued_s, **record.timings.stages}.items():
            self._stages.labels(stage).observe(seconds)
        self._tokens.labels("read").inc(record.timings.prompt_tokens)
        self._tokens.labels("written").inc(record.timings.answer_tokens)
        self._max_position = max(self._max_position, record.position)

    def _add_gauges(self, service: ChatService) -> None:
        """Add values that are looked up whenever the metrics are read."""
        from prometheus_client import Gauge

        def of_index(count: Callable[[IndexReader], int]) -> int:
            return count(service.chatbot.index) if service.chatbot else 0

        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "questions_in_line": (
                "Questions that are being answered or waiting.",
                lambda: len(service.queue),
            ),
            "longest_place": (
                "Highest position in the queue that a question has had on arrival.",
                lambda: self._max_position,
            ),
            "resident_memory_bytes": (
                "Memory of the server and of its child processes.",
                memory.resident,
            ),
            "models_loaded": (
                "1 once the index is open and the models are loaded.",
                lambda: isinstance(service.state, Ready),
            ),
            "articles": (
                "Articles of the index.",
                lambda: of_index(lambda index: index.article_count),
            ),
            "passages": (
                "Passages of the index.",
                lambda: of_index(lambda index: index.passage_count),
            ),
        }
        for name, (description, value) in gauges.items():
            gauge = Gauge(f"footnote_{name}", description, registry=self.registry)
            gauge.set_function(value)


def routes(service: ChatService) -> list[Any]:
    """Return the route of `/metrics`, and begin to count the service's questions."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from starlette.responses import Response
    from starlette.routing import Route

    metrics = Metrics(service)
    service.listeners.append(metrics.count)

    def metrics_response(request: Any) -> Any:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return Response(generate_latest(metrics.registry), headers=headers)

    return [Route("/metrics", metrics_response)]
