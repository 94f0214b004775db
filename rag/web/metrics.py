"""`/metrics`: how much is asked, what becomes of it and how long it takes, for Prometheus.

Only numbers, and names that stand in this program: nothing that was asked, nothing of the articles.
"""

from collections.abc import Callable
from typing import Any

from rag import memory
from rag.web.desk import Desk
from rag.web.journal import Ending, Face, Noted

BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Seconds."""

IN_LINE = "wait_in_line"
"""The stage before all others."""


class Metrics:
    """What has been counted since the start, and how things stand now."""

    def __init__(self, desk: Desk) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        self._questions = Counter(
            "footnote_questions",
            "Questions that are over, by the face that they came in at and how they ended.",
            ["face", "mode"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "footnote_question_seconds",
            "All that questions took, waiting in line included.",
            ["face"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "footnote_stage_seconds",
            "What the stages of questions took.",
            ["stage"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "footnote_tokens",
            "Tokens that the generator was given to read, and wrote.",
            ["kind"],
            registry=self.registry,
        )
        self._longest_place = 0
        for face in Face:
            for ending in Ending:
                self._questions.labels(face.value, ending.value)
        self._show_state(desk)

    def count(self, noted: Noted) -> None:
        self._questions.labels(noted.face.value, noted.ending.value).inc()
        if noted.ending is Ending.BUSY:
            return
        self._seconds.labels(noted.face.value).observe(noted.seconds)
        for stage, seconds in {IN_LINE: noted.waited_s, **noted.timings.stages}.items():
            self._stages.labels(stage).observe(seconds)
        self._tokens.labels("read").inc(noted.timings.prompt_tokens)
        self._tokens.labels("written").inc(noted.timings.answer_tokens)
        self._longest_place = max(self._longest_place, noted.place)

    def _show_state(self, desk: Desk) -> None:
        """Numbers that are looked up whenever somebody asks for them."""
        from prometheus_client import Gauge

        shown: dict[str, tuple[str, Callable[[], float]]] = {
            "questions_in_line": (
                "Questions that are being answered, or wait to be.",
                lambda: len(desk.line),
            ),
            "longest_place": (
                "Most questions that came before one, since the start.",
                lambda: self._longest_place,
            ),
            "resident_memory_bytes": (
                "Memory of the server and of the processes that it has started.",
                memory.resident,
            ),
            "models_loaded": (
                "1 once the models are loaded and the index is open.",
                lambda: desk.ready,
            ),
            "articles": (
                "Articles of the index.",
                lambda: desk.chatbot.index.article_count if desk.chatbot else 0,
            ),
            "passages": (
                "Passages of the index.",
                lambda: desk.chatbot.index.passage_count if desk.chatbot else 0,
            ),
        }
        for name, (meaning, now) in shown.items():
            Gauge(f"footnote_{name}", meaning, registry=self.registry).set_function(now)


def routes(desk: Desk) -> list[Any]:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from starlette.responses import Response
    from starlette.routing import Route

    metrics = Metrics(desk)
    desk.listeners.append(metrics.count)

    def told(request: Any) -> Any:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return Response(generate_latest(metrics.registry), headers=headers)

    return [Route("/metrics", told)]
