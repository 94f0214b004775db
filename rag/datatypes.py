"""The data that flows through Footnote: frozen, and the same for every face.

All offsets count Unicode code points of an article's text: `article.text[start:end]`.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypedDict


class EncoderId(NamedTuple):
    """An encoder as an index remembers it: its name, and a hash of its weights and configuration."""

    name: str
    fingerprint: str


class Message(TypedDict):
    """One turn of a conversation, or one part of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Article:
    """What the owner supplies. `text` is exactly as read; `date` is as written there (ISO at best).

    `pages` holds the offsets at which page 1, 2, … begin, where there are pages.
    """

    id: str
    title: str
    text: str
    date: str | None = None
    source: str | None = None
    url: str | None = None
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that looked like an article and could not be taken, with the reason."""

    path: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit retrieved: `article.text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Exact text of an article and its place there: `text == article.text[start:end]`.

    `also` holds the same, or nearly the same, as it stands in other articles.
    """

    article_id: str
    title: str
    start: int
    end: int
    text: str
    date: str | None = None
    source: str | None = None
    url: str | None = None
    pages: tuple[int, ...] = ()
    also: tuple["Excerpt", ...] = ()

    @property
    def page(self) -> int | None:
        """The page on which it begins, counted from 1; None where the article has none."""
        return bisect_right(self.pages, self.start) if self.pages else None

    def as_json(self, text_key: str) -> dict[str, Any]:
        about: dict[str, Any] = {"article_id": self.article_id, "title": self.title}
        optional = {
            "date": self.date,
            "source": self.source,
            "url": self.url,
            "page": self.page,
            "also": [twin.as_json(text_key) for twin in self.also] or None,
        }
        known = {key: value for key, value in optional.items() if value is not None}
        return about | known | {"start": self.start, "end": self.end, text_key: self.text}


@dataclass(frozen=True, slots=True)
class StandaloneQuestion:
    """A question that can be searched for without the conversation before it.

    `about` holds what was spoken of there and the question does not name, most telling first.
    """

    asked: str
    about: tuple[str, ...] = ()

    @property
    def about_text(self) -> str:
        return " ".join(self.about)

    @property
    def text(self) -> str:
        """The question as the user is shown it."""
        return f"{self.asked} ({', '.join(self.about)})" if self.about else self.asked


@dataclass(frozen=True, slots=True)
class Among:
    """Only articles of some sources, as the articles name them, and of some time.

    `since` and `until` are days, months or years (2024, 2024-05, 2024-05-31), both inclusive. An article
    whose date is not written so is of no time. What is empty leaves nothing out.
    """

    sources: tuple[str, ...] = ()
    since: str = ""
    until: str = ""


EVERYTHING = Among()


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage retrieved. Higher `score` is better; `rank` counts from 1."""

    rank: int
    score: float
    passage: Excerpt

    def as_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "score": round(self.score, 6)} | self.passage.as_json("text")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of a hit, and how surely it answers the question: `score`, 0 to 1.

    `leans_on` is the sentence before it, where it cannot be understood without ("It was built …").
    """

    score: float
    sentence: Excerpt
    leans_on: Excerpt | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the generator is asked, and the sources that stand in it, in their order."""

    messages: tuple[Message, ...]
    sources: tuple[Excerpt, ...]
    tokens: int


class Verdict(StrEnum):
    """What the check of a sentence against the articles comes to."""

    SUPPORTED = "supported"
    UNSUPPORTED = "not supported"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a draft or an answer, and the check's verdict over the citations named.

    `reason` says why one does not stand; `quoted` ones were not written by a generator.
    """

    text: str
    verdict: Verdict
    citations: tuple[int, ...] = ()
    reason: str = ""
    quoted: bool = False

    @property
    def supported(self) -> bool:
        return self.verdict is Verdict.SUPPORTED

    def as_json(self) -> dict[str, Any]:
        judged = {"text": self.text, "supported": self.supported, "citations": list(self.citations)}
        judged["verdict"] = self.verdict.value
        return judged | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class ShortAnswer:
    """What a generator taught to answer shortly makes of some facts.

    `text` is the likeliest answer, of `tokens` tokens; `certainty` is how likely it is if there is one,
    and `none` how likely it is that the facts hold none, each 0 to 1. The prompt was read in `read_s`
    seconds, the answer written in `write_s`; two that say the same are equal, however long they took.
    """

    text: str
    tokens: int
    certainty: float
    none: float
    read_s: float = field(default=0.0, compare=False)
    write_s: float = field(default=0.0, compare=False)


class Opinion(NamedTuple):
    """What a checker model makes of a statement beside a text, each 0 to 1."""

    supports: float
    contradicts: float


@dataclass(frozen=True, slots=True)
class Citation:
    """A marker resolved: `quote.text` stands, exactly, at its place in the article."""

    marker: int
    quote: Excerpt

    def as_json(self) -> dict[str, Any]:
        return {"marker": self.marker} | self.quote.as_json("quote")


class Mode(StrEnum):
    """How an answer came about."""

    WRITTEN = "written"
    QUOTED = "quoted"
    REFUSED = "refused"


class Notice(StrEnum):
    """What a reader should know of how an answer came about, besides its mode."""

    GENERATOR_CRASHED = "generator_crashed"
    """The language model stopped while it was writing; the answer is a quotation instead."""
    GENERATOR_OFF = "generator_off"
    """The language model is off; the answer is a quotation instead."""


class Strictness(StrEnum):
    """How sure it must be that the articles hold an answer before one is given."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    def least_score(self, normal: float) -> float:
        """Of the best sentence, below which the question is refused; `normal` is the index's own."""
        odds = normal / (1 - normal) * {"low": 1 / 3, "normal": 1.0, "high": 2.0}[self.value]
        return odds / (1 + odds)


class Stage(StrEnum):
    """How far a question has come."""

    WRITING = "writing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds and tokens that an answer took; `first_token_s` is None when nothing was written.

    `stages` says where they went so far (rag.stopwatch.Work); in the end they sum up to `total_s`.
    """

    retrieve_s: float
    first_token_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        first = self.first_token_s
        return {
            "retrieve_s": round(self.retrieve_s, 4),
            "first_token_s": None if first is None else round(first, 4),
            "total_s": round(self.total_s, 4),
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "stages": rounded(self.stages),
        }


def rounded(stages: Mapping[str, float]) -> dict[str, float]:
    """Seconds as JSON tells them."""
    return {work: round(seconds, 4) for work, seconds in stages.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as far as it has come. While `stage` is WRITING, `draft` is unchecked text.

    Once DONE, every marker in `text` is in `citations`. `sentences` holds what stands and, marked
    unsupported, what was drafted and struck out. `confidence`, 0 to 1, is how surely the articles hold
    an answer; `given` and `dropped` count the sentences found that the generator was given, and not.
    """

    question: str
    standalone_question: str
    stage: Stage
    mode: Mode
    text: str
    hits: tuple[Hit, ...]
    model: str
    timings: Timings
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    draft: str = ""
    thought: str = ""
    confidence: float = 0.0
    given: int = 0
    dropped: int = 0
    notice: Notice | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "standalone_question": self.standalone_question,
            "answered": self.mode is not Mode.REFUSED,
            "answer": self.text,
            "mode": self.mode.value,
            "sentences": [sentence.as_json() for sentence in self.sentences],
            "citations": [citation.as_json() for citation in self.citations],
            "hits": [hit.as_json() for hit in self.hits],
            "model": self.model,
            "confidence": round(self.confidence, 4),
            "evidence": {"given": self.given, "dropped": self.dropped},
            "thought": self.thought,
            "timings": self.timings.as_json(),
        } | ({"notice": self.notice.value} if self.notice else {})


@dataclass(frozen=True, slots=True)
class Question:
    """A question as asked, with the conversation before it, oldest first."""

    text: str
    history: tuple[Message, ...] = ()
    id: str | int | None = None

    @property
    def label(self) -> Mapping[str, str | int]:
        return {} if self.id is None else {"id": self.id}
