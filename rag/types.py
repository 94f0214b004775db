"""Immutable data types shared by all packages.

All offsets count Unicode code points of an article's text: `article.text[start:end]`. Methods named
`as_json` return what the command line and the HTTP interfaces print; their keys are public.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Literal, NamedTuple, TypedDict

from rag.wording import Phrase, Texts, english


class EncoderId(NamedTuple):
    """Identity of the encoder that built an index: its name, and a hash of weights and configuration."""

    name: str
    fingerprint: str


class Message(TypedDict):
    """One message of a conversation or of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class ModelRole(StrEnum):
    """What a model is used for. The value is also the name of the setting that selects the model."""

    ENCODER = "encoder"
    GENERATOR = "generator"
    RERANKER = "reranker"
    CHECKER = "checker"


@dataclass(frozen=True, slots=True)
class Article:
    """An article of the user's collection.

    Attributes:
        text: The text, exactly as extracted from the file.
        date: The publication date as the source states it, ideally in ISO 8601.
        source: The publisher.
        pages: The offsets at which pages 1, 2, … begin; empty for formats without pages.
    """

    id: str
    title: str
    text: str
    date: str | None = None
    source: str | None = None
    url: str | None = None
    pages: tuple[int, ...] = ()


class Origin(StrEnum):
    """Which index an article comes from."""

    INDEX = "index"
    """The chatbot's own."""
    UPLOADS = "uploads"
    """The index of the files that a reader has uploaded."""


UPLOAD_PREFIX = "also:"
"""Prefix of the ids of uploaded articles in JSON, which may also be the beginning of an article's id."""


class ArticleRef(NamedTuple):
    """An article's id, which is unique within its origin. `str()` is the id in JSON."""

    origin: Origin
    id: str

    def __str__(self) -> str:
        return f"{UPLOAD_PREFIX}{self.id}" if self.origin is Origin.UPLOADS else self.id


class SkipCause(IntEnum):
    """When something that was skipped can be read after all. The values are stored in the index."""

    CONTENT = 0
    """When its file has changed."""
    DUPLICATE_ID = 1
    """When no other article of its source has its id any more."""
    MISSING_PACKAGE = 2
    """When the package that reads its format is installed."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or row that was not indexed, with the reason."""

    path: str
    reason: Phrase
    cause: SkipCause = SkipCause.CONTENT

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "reason": str(self.reason), "reason_code": self.reason.code}


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of retrieval: `article.text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A verbatim part of an article: `text == article.text[start:end]`.

    Attributes:
        duplicates: Excerpts of other articles with the same, or nearly the same, text.
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
    duplicates: tuple["Excerpt", ...] = ()
    origin: Origin = Origin.INDEX

    @property
    def article(self) -> ArticleRef:
        return ArticleRef(self.origin, self.article_id)

    @property
    def page(self) -> int | None:
        """The page on which the excerpt begins, counted from 1; None if the article has no pages."""
        return bisect_right(self.pages, self.start) if self.pages else None

    def as_json(self, text_key: str) -> dict[str, Any]:
        """Return the excerpt as JSON, with its text under `text_key`."""
        article: dict[str, Any] = {"article_id": str(self.article), "title": self.title}
        optional = {
            "origin": self.origin.value if self.origin is not Origin.INDEX else None,
            "date": self.date,
            "source": self.source,
            "url": self.url,
            "page": self.page,
            "also": [duplicate.as_json(text_key) for duplicate in self.duplicates] or None,
        }
        known = {key: value for key, value in optional.items() if value is not None}
        return article | known | {"start": self.start, "end": self.end, text_key: self.text}


def excerpt_of(article: Article, start: int, end: int) -> Excerpt:
    """Return the part of an article between two offsets."""
    return Excerpt(
        article_id=article.id,
        title=article.title,
        start=start,
        end=end,
        text=article.text[start:end],
        date=article.date,
        source=article.source,
        url=article.url,
        pages=article.pages,
    )


def excerpt_part(excerpt: Excerpt, start: int, end: int) -> Excerpt:
    """Return the part of an excerpt between two offsets in its text, without duplicates."""
    offset = excerpt.start
    text = excerpt.text[start:end]
    return replace(
        excerpt, start=offset + start, end=offset + start + len(text), text=text, duplicates=()
    )


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A question that can be searched for without the conversation before it.

    Attributes:
        question: The question as the user wrote it, or as the generator rewrote it.
        context_terms: Words of the conversation that the question refers to without naming them,
            most informative first.
    """

    question: str
    context_terms: tuple[str, ...] = ()

    @property
    def context_text(self) -> str:
        return " ".join(self.context_terms)

    @property
    def text(self) -> str:
        """The standalone question as it is displayed: "And when does it expire? (treaty, Osk)"."""
        if not self.context_terms:
            return self.question
        return f"{self.question} ({', '.join(self.context_terms)})"


@dataclass(frozen=True, slots=True)
class ArticleFilter:
    """Restricts a search to articles of certain sources and dates. Empty fields restrict nothing.

    Attributes:
        sources: The publishers to include, spelt as in the articles.
        since: The first day, month or year to include (2024-05-31, 2024-05 or 2024). Articles
            without a date in this format are excluded.
        until: The last day, month or year to include.
    """

    sources: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def within(self, since: str, until: str) -> "ArticleFilter":
        """Return the filter restricted further to a period, whose ends may be empty."""
        ends = [end for end in (self.until, until) if end]
        last = min(ends, key=lambda end: end.ljust(len("2024-05-31"), "~"), default="")
        return ArticleFilter(self.sources, max(self.since, since), last)


ALL_ARTICLES = ArticleFilter()


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved passage. A higher `score` is better; `rank` counts from 1."""

    rank: int
    score: float
    passage: Excerpt

    def as_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "score": round(self.score, 6)} | self.passage.as_json("text")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of a hit, scored as an answer to the question.

    Attributes:
        score: The probability, 0 to 1, that the sentence answers the question.
        preceding: The sentence before it, if it refers back to that one ("It was built …").
        answer: The part of the sentence that answers, perhaps continued; None if nothing in it does.
    """

    score: float
    sentence: Excerpt
    preceding: Excerpt | None = None
    answer: Excerpt | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for the generator, and the excerpts that it contains, in order."""

    messages: tuple[Message, ...]
    sources: tuple[Excerpt, ...]
    tokens: int


class Verdict(StrEnum):
    """Result of verifying a sentence against the articles."""

    SUPPORTED = "supported"
    UNSUPPORTED = "not supported"
    CONTRADICTED = "contradicted"


class Reason(StrEnum):
    """Why a sentence is not supported; the values are codes of `rag.wording`."""

    NOT_SAID = "not_said"
    NOTHING_NEW = "nothing_new"
    """It says no more than the question."""
    WORD_MISSING = "word_missing"
    FIRST_OR_SECOND_PERSON = "first_or_second_person"
    OPPOSITE_SAID = "opposite_said"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A verified sentence of a draft or an answer.

    Attributes:
        text: The sentence; of a quotation, the words quoted, without quotation marks. Empty if the
            program itself says something.
        citations: The markers of the citations that the verdict rests on.
        reason: Why the sentence is not supported, with one of the codes of `Reason`; None if it is.
        quoted: Whether the sentence is a quotation rather than the generator's own.
        date: The date of the article, put before the sentence where articles are set side by side.
        phrase: What the program itself says, such as "Yes." or how many articles there are.
    """

    text: str
    verdict: Verdict
    citations: tuple[int, ...] = ()
    reason: Phrase | None = None
    quoted: bool = False
    date: str | None = None
    phrase: Phrase | None = None

    @property
    def supported(self) -> bool:
        return self.verdict is Verdict.SUPPORTED

    def text_in(self, texts: Texts) -> str:
        """Return the sentence in a language; a quotation has quotation marks."""
        if self.phrase is not None:
            return self.phrase.text_in(texts)
        text = texts("quotation", text=self.text) if self.quoted else self.text
        return texts("dated_sentence", date=self.date, sentence=text) if self.date else text

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "text": self.text_in(english()),
            "supported": self.supported,
            "citations": list(self.citations),
            "verdict": self.verdict.value,
        }
        if self.reason is None:
            return shown
        return shown | {"reason": str(self.reason), "reason_code": self.reason.code}


class ClaimScores(NamedTuple):
    """Probabilities, 0 to 1, of what a passage says about a claim; they sum to 1."""

    supported: float
    contradicted: float
    not_stated: float


class EntailmentScores(NamedTuple):
    """Scores, 0 to 1, of an entailment model for a statement, given a text."""

    supports: float
    contradicts: float


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation marker and the verbatim quote that it refers to."""

    marker: int
    quote: Excerpt

    def as_json(self) -> dict[str, Any]:
        return {"marker": self.marker} | self.quote.as_json("quote")


@dataclass(frozen=True, slots=True)
class Correction:
    """A word of a question and the word of the articles that replaces it."""

    written: str
    corrected: str


class QuestionKind(StrEnum):
    """What kind of answer a question asks for."""

    LOOKUP = "lookup"
    """One fact: a name, a figure, a date, a short phrase."""
    SUMMARY = "summary"
    """The key points of one article."""
    OVERVIEW = "overview"
    """What the articles report about a subject."""
    LATEST = "latest"
    """The newest that the articles report about a subject, or how something ended."""
    PERIOD = "period"
    """What the articles of a period report."""
    COMPARISON = "comparison"
    """Two things beside each other."""
    YES_NO = "yes_no"
    """Whether something is so."""
    LIST = "list"
    """Several items."""
    EXPLANATION = "explanation"
    """A reason, or the way something is done or happened."""
    KEYWORDS = "keywords"
    """Words to search for rather than a question."""
    ARTICLE_COUNT = "article_count"
    """How many articles there are, or mention something."""
    ARTICLE_LIST = "article_list"
    """Which articles there are, or mention something."""


def cited_text(sentences: Iterable[Sentence], texts: Texts) -> str:
    """Return the supported sentences in a language, each followed by its markers."""
    return " ".join(
        " ".join([sentence.text_in(texts), *(f"[{marker}]" for marker in sentence.citations)])
        for sentence in sentences
        if sentence.supported
    )


class Mode(StrEnum):
    """How an answer was made."""

    WRITTEN = "written"
    QUOTED = "quoted"
    REFUSED = "refused"


class Refusal(StrEnum):
    """Why a question is refused; the values are codes of `rag.wording`."""

    NO_EVIDENCE = "no_evidence"
    NEAR_MISS = "near_miss"
    """The articles say something close to it."""
    PHRASE_NOT_FOUND = "phrase_not_found"
    EMPTY_INDEX = "empty_index"
    PERIOD_EMPTY = "period_empty"
    """No article is of the time asked about."""


class Notice(StrEnum):
    """What a user should know about how an answer was made, besides its mode."""

    GENERATOR_CRASHED = "generator_crashed"
    """The language model crashed while writing; the answer is a quotation instead."""
    GENERATOR_OFF = "generator_off"
    """The language model is disabled; the answer is a quotation instead."""


class Strictness(StrEnum):
    """How confident an answer must be; below that, the question is refused."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    def least_score(self, normal: float) -> float:
        """Return the minimum confidence.

        Args:
            normal: The index's own threshold, strictly between 0 and 1. LOW divides its odds by 3,
                HIGH doubles them.
        """
        odds = normal / (1 - normal) * {"low": 1 / 3, "normal": 1.0, "high": 2.0}[self.value]
        return odds / (1 + odds)


class Stage(StrEnum):
    """Whether an answer is still being made."""

    WRITING = "writing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds and token counts of one answer.

    Attributes:
        first_token_s: Time to the first generated token; None if the generator wrote nothing.
        stages: Seconds per phase (rag.timing.Phase). Once the answer is done, they sum to `total_s`.
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
            "stages": round_seconds(self.stages),
        }


def round_seconds(stages: Mapping[str, float]) -> dict[str, float]:
    """Round seconds to the precision used in JSON."""
    return {phase: round(seconds, 4) for phase, seconds in stages.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, complete or in progress.

    While `stage` is WRITING, only `draft`, which is not verified yet, `hits` and `timings` are
    meaningful. Once it is DONE, it consists of either a refusal, a reply to small talk, or sentences, and
    every marker in `text` is in `citations`.

    Attributes:
        standalone_question: The question as it was searched for.
        refusal: Why the question is refused, with one of the codes of `Refusal`.
        reply: The reply to a greeting or the like. Nothing was searched for, and nothing was verified;
            the mode is WRITTEN.
        kind: What kind of answer the question asks for.
        corrections: The misspelt words of the question.
        parts: The questions of which the question consists; empty if it is only one.
        sentences: The sentences of the answer, and the sentences of the draft that were rejected.
        draft: What the generator has written so far.
        thought: What a reasoning model wrote before its answer.
        confidence: The probability, 0 to 1, that the articles answer the question.
        evidence_used: The number of evidence sentences in the prompt.
        evidence_omitted: The number of evidence sentences that were not in the prompt.
    """

    question: str
    standalone_question: str
    stage: Stage
    mode: Mode
    hits: tuple[Hit, ...]
    model: str
    timings: Timings
    kind: QuestionKind = QuestionKind.LOOKUP
    corrections: tuple[Correction, ...] = ()
    parts: tuple[str, ...] = ()
    refusal: Phrase | None = None
    reply: Phrase | None = None
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    draft: str = ""
    thought: str = ""
    confidence: float = 0.0
    # The aliases are the names of these fields in conversations that browsers have stored.
    evidence_used: int = field(default=0, metadata={"alias": "given"})
    evidence_omitted: int = field(default=0, metadata={"alias": "dropped"})
    notice: Notice | None = None

    @property
    def text(self) -> str:
        """The text of the answer in English; empty while it is being written."""
        return self.text_in(english())

    def text_in(self, texts: Texts) -> str:
        """Return the text of the answer, with what the program itself says in a language."""
        if phrase := self.refusal or self.reply:
            return phrase.text_in(texts)
        return cited_text(self.sentences, texts)

    @property
    def small_talk(self) -> bool:
        """Whether this is the reply to a greeting or the like, rather than an answer."""
        return self.reply is not None

    @property
    def from_articles(self) -> bool:
        """Whether the articles answer the question: this is neither a refusal nor small talk."""
        return self.mode is not Mode.REFUSED and not self.small_talk

    def as_json(self) -> dict[str, Any]:
        optional: dict[str, Any] = {}
        if self.refusal:
            optional["refusal_code"] = self.refusal.code
        if self.notice:
            optional["notice"] = self.notice.value
        if self.small_talk:
            optional["small_talk"] = True
        return {
            "question": self.question,
            "standalone_question": self.standalone_question,
            "answered": self.mode is not Mode.REFUSED,
            "answer": self.text,
            "mode": self.mode.value,
            "kind": self.kind.value,
            "parts": list(self.parts),
            "corrections": {item.written: item.corrected for item in self.corrections},
            "sentences": [sentence.as_json() for sentence in self.sentences],
            "citations": [citation.as_json() for citation in self.citations],
            "hits": [hit.as_json() for hit in self.hits],
            "model": self.model,
            "confidence": round(self.confidence, 4),
            "evidence": {"given": self.evidence_used, "dropped": self.evidence_omitted},
            "thought": self.thought,
            "timings": self.timings.as_json(),
        } | optional


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the conversation before it, oldest message first."""

    text: str
    history: tuple[Message, ...] = ()
    id: str | int | None = None

    @property
    def label(self) -> Mapping[str, str | int]:
        """The question's id as a JSON member; empty if it has none."""
        return {} if self.id is None else {"id": self.id}
