"""Strategies for answering, by the kind of question (see `question_type`).

- A *look-up* is answered by the part of a sentence that the reader finds, verified, with the sentence as
  its citation. A generator that the user chose writes a *draft* instead, whose unsupported sentences are
  removed; where nothing of it is supported, the reader's answer takes its place.
- *Lists*, *explanations*, *comparisons* and *yes/no questions* are answered by sentences of the evidence,
  the last with "Yes." or "No." before them where the judge is sure.
- *Summaries* and *overviews* consist of the openings of articles.
- Questions about the collection are answered from the index (see `catalogue`).

Where the confidence is below the threshold, the answer is a refusal.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from rag.answering import catalogue, extracts, openings
from rag.answering.citations import CitedSentence, CitedText, number_citations
from rag.answering.evidence import disagree, readable_passage
from rag.answering.openings import FoundArticle
from rag.answering.question_type import QuestionPlan
from rag.answering.quote import quote, quote_each
from rag.answering.refusal import build_refusal
from rag.answering.temporal import Period
from rag.answering.verify import Verifier
from rag.errors import GeneratorCrashed
from rag.models.embedding.encoder import Encoder
from rag.models.generation import prompts
from rag.models.generation.base import LanguageModel
from rag.store.browse import ArticleSort, list_articles
from rag.store.reader import IndexReader
from rag.text.sentences import sentences
from rag.text.tokens import Idf, terms, words
from rag.timing import Phase, PhaseTimer
from rag.types import (
    Answer,
    ArticleFilter,
    Evidence,
    Excerpt,
    Hit,
    Mode,
    Notice,
    Prompt,
    QuestionKind,
    Refusal,
    SearchQuery,
    Sentence,
    Stage,
    Verdict,
    excerpt_part,
)
from rag.wording import phrase

MIN_VERDICT = 0.8
"""Probability from which on the judge's "supported" or "contradicted" becomes "Yes." or "No."."""

MIN_SHORT_ANSWER_SCORE = 0.7
"""Score of a sentence from which on its answer stands alone; below, the whole sentence is quoted."""

MAX_SHORT_ANSWER_WORDS = 14
"""Most words of an answer that stands alone."""

# What joins two clauses: a span across it is cut wrongly.
_CLAUSE_BOUNDARY = re.compile(r";|, (?:but|while|which|who|when|where)\b|\. ")

MAX_JUDGED_PASSAGES = 3
"""Number of passages by which a yes/no question is judged."""

MIN_RELATED_RELEVANCE = 0.8
"""Relevance of an article in an overview, relative to that of the best one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the questions of which a question consists, with what was found for it.

    Attributes:
        query: The question.
        hits: The passages retrieved for it.
        evidence: Their sentences, best first.
        confidence: The probability, 0 to 1, that the articles answer the question.
    """

    query: SearchQuery
    hits: Sequence[Hit]
    evidence: Sequence[Evidence]
    confidence: float


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What an answer is made from.

    Attributes:
        query: The standalone question.
        plan: What kind of answer it asks for.
        parts: What was found for each part of the question.
        threshold: The confidence below which the question is refused.
        timer: Runs since the question was asked.
    """

    query: SearchQuery
    plan: QuestionPlan
    parts: Sequence[Part]
    threshold: float
    timer: PhaseTimer

    @property
    def hits(self) -> list[Hit]:
        """The hits of all parts, each once."""
        return list(dict.fromkeys(hit for part in self.parts for hit in part.hits))

    @property
    def evidence(self) -> list[Evidence]:
        """The evidence of all parts, best first."""
        evidence = [item for part in self.parts for item in part.evidence]
        return sorted(evidence, key=lambda item: -item.score) if len(self.parts) > 1 else evidence


class AnswerWriter:
    """Makes answers with one generator and one verifier."""

    def __init__(self, generator: LanguageModel, encoder: Encoder, verifier: Verifier) -> None:
        self._generator = generator
        self._encoder = encoder
        self._verifier = verifier

    def write(self, answer: Answer, context: AnswerContext) -> Iterator[Answer]:
        """Yield the answer in progress, and finally the answer that is DONE.

        Args:
            answer: The answer so far.
            context: What the answer is made from.
        """
        if answer.confidence < context.threshold:
            yield refuse(answer, context.query, context.hits, context.timer, context.evidence)
            return
        if self._generator.problem:
            answer = replace(answer, notice=Notice.GENERATOR_OFF)
        elif self._generator.profile.writes_answers:
            try:
                yield from self._answer_by_draft(answer, context)
                return
            except GeneratorCrashed:
                answer = replace(answer, notice=Notice.GENERATOR_CRASHED)
        yield self._answer_by_reading(answer, context)

    # -- from what the reader has found

    def _answer_by_reading(self, answer: Answer, context: AnswerContext) -> Answer:
        """Return the answer made of what the reader has found for each part."""
        with context.timer.measure(Phase.CHECK):
            several = len(context.parts) > 1
            cited: list[CitedSentence] = []
            for part in context.parts:
                if several and part.confidence < context.threshold:
                    cited.append(_missing_part(part))
                else:
                    cited += self._answer_part(part, context.plan.kind)
        return finish(with_sentences(answer, cited), context.timer)

    def _answer_part(self, part: Part, kind: QuestionKind) -> list[CitedSentence]:
        match kind:
            case QuestionKind.YES_NO:
                return self._yes_or_no(part)
            case QuestionKind.EXPLANATION:
                return [quote(extracts.explanation(part.evidence[0], part.hits))]
            case QuestionKind.COMPARISON:
                chosen = extracts.several(part.evidence, kind)
                return quote_each(extracts.in_order_of_time(chosen))
            case QuestionKind.LIST | QuestionKind.KEYWORDS:
                return [quote(excerpt) for excerpt in extracts.several(part.evidence, kind)]
            case _:
                return self._look_up(part)

    def _look_up(self, part: Part) -> list[CitedSentence]:
        """Return the short answer; a quotation if there is none; both sides if articles disagree."""
        best, *others = part.evidence
        opposing = next(
            (other for other in others if disagree(part.query.question, best, other)), None
        )
        if opposing:
            newest_first = sorted(
                [best.sentence, opposing.sentence], key=lambda e: e.date or "", reverse=True
            )
            return quote_each(newest_first)
        is_sure = best.score >= MIN_SHORT_ANSWER_SCORE
        if best.answer is not None and is_sure and _is_short(best.answer.text):
            text = _as_sentence(best.answer.text)
            passage = extracts.passage_with(best.sentence, part.hits)
            result = self._verifier.verify(text, part.query.text, [passage])
            if result.verdict is Verdict.SUPPORTED:
                source = _with_preceding(best, passage)
                return [CitedSentence(Sentence(text, Verdict.SUPPORTED), (source,))]
        return [quote(best.sentence)]

    def _yes_or_no(self, part: Part) -> list[CitedSentence]:
        """Return "Yes." or "No." where the judge is sure, and the sentence that decides it."""
        question = part.query.text
        passages = [hit.passage for hit in part.hits[:MAX_JUDGED_PASSAGES]]
        scores = self._verifier.judge.judge(question, list(map(readable_passage, passages)))
        sure, best = max(
            enumerate(scores), key=lambda pair: max(pair[1].supported, pair[1].contradicted)
        )
        if max(best.supported, best.contradicted) < MIN_VERDICT:
            return [quote(e) for e in extracts.several(part.evidence, QuestionKind.YES_NO)]
        source = _best_within(part.evidence, passages[sure])
        word = phrase("yes" if best.supported > best.contradicted else "no")
        return [
            CitedSentence(Sentence("", Verdict.SUPPORTED, phrase=word), (source,)),
            quote(source),
        ]

    # -- drafts

    def _answer_by_draft(self, answer: Answer, context: AnswerContext) -> Iterator[Answer]:
        """Yield the draft as it grows; then what of it is supported. Raises GeneratorCrashed.

        Where the generator declines or nothing of its draft is supported, the reader's answer follows.
        """
        with context.timer.measure(Phase.COMPOSE_PROMPT):
            prompt = compose_prompt(context.query, context.evidence, self._generator, self._encoder)
        used = len(prompt.sources)
        omitted = max(0, len(context.evidence) - used)
        drafted = replace(answer, evidence_used=used, evidence_omitted=omitted)
        for partial_draft in self._stream_draft(drafted, prompt, context.timer):
            drafted = partial_draft
            yield drafted
        with context.timer.measure(Phase.CHECK):
            passages = [hit.passage for hit in context.hits]
            declined = prompts.is_refusal(drafted.draft)
            verified = self._verifier.verify_draft(
                "" if declined else drafted.draft, answer.standalone_question, passages
            )
        if any(sentence.supported for sentence in verified.sentences):
            yield finish(_with_cited_text(drafted, Mode.WRITTEN, verified), context.timer)
            return
        fallback = self._answer_by_reading(drafted, context)
        yield replace(fallback, sentences=fallback.sentences + verified.sentences)

    def _stream_draft(self, answer: Answer, prompt: Prompt, timer: PhaseTimer) -> Iterator[Answer]:
        """Yield the answer with its draft as it grows; nothing if the prompt contains no source."""
        if not prompt.sources:
            return
        timings = replace(answer.timings, prompt_tokens=prompt.tokens)
        written = ""
        with closing(self._generator.stream(prompt.messages)) as stream:
            for piece in timer.measure_iter(stream, Phase.READ_PROMPT, Phase.WRITE):
                if not written and piece:
                    timings = replace(timings, first_token_s=timer.total_s)
                written += piece
                thought, draft = prompts.split_reasoning(written)
                tokens = timings.answer_tokens + bool(piece)
                timings = replace(timings, answer_tokens=tokens)
                yield replace(answer, draft=draft, thought=thought, timings=timings)
                if _is_rambling(draft):
                    break


# -- from whole articles, and from the index


def answer_from_openings(
    answer: Answer, kind: QuestionKind, found: Sequence[FoundArticle], timer: PhaseTimer
) -> Answer:
    """Return a summary of the best article, or an overview of the best ones.

    Args:
        answer: The answer so far.
        kind: SUMMARY, OVERVIEW or LATEST.
        found: The articles about the subject, at least one, best first.
        timer: Runs since the question was asked.
    """
    if kind is QuestionKind.SUMMARY:
        cited = [quote(found[0].opening(openings.SUMMARY_WORDS))]
    else:
        cited = openings.overview(found, newest_first=kind is QuestionKind.LATEST)
    return finish(with_sentences(answer, cited), timer)


def answer_about_period(
    answer: Answer,
    period: Period,
    index: IndexReader,
    article_filter: ArticleFilter,
    timer: PhaseTimer,
) -> Answer:
    """Return what the articles of a period report, or that there are none."""
    with timer.measure(Phase.GATHER_HITS):
        dated = article_filter.within(*period)
        listed, _ = list_articles(index, "", dated, ArticleSort.OLDEST, openings.PERIOD_ARTICLES)
        found = [index.article(summary.id) for summary in listed]
        articles = [article for article in found if article is not None]
    if not articles:
        span = " – ".join(dict.fromkeys(part for part in period if part))
        refusal = phrase(Refusal.PERIOD_EMPTY, period=span)
        return finish(replace(answer, refusal=refusal), timer)
    answer = replace(answer, confidence=1.0)
    return finish(with_sentences(answer, openings.period_overview(articles)), timer)


def answer_from_catalogue(
    answer: Answer,
    plan: QuestionPlan,
    question: str,
    index: IndexReader,
    article_filter: ArticleFilter,
    timer: PhaseTimer,
) -> Answer:
    """Return how many articles there are or mention something, or which."""
    with timer.measure(Phase.GATHER_HITS):
        result = catalogue.run_catalogue_query(index, question, plan.subject, article_filter)
    sentences_with_sources = catalogue.describe(
        result, names=plan.kind is QuestionKind.ARTICLE_LIST
    )
    answer = replace(answer, confidence=1.0)
    return finish(with_sentences(answer, sentences_with_sources), timer)


def related_hits(subject: SearchQuery, hits: Sequence[Hit], idf: Idf) -> list[Hit]:
    """Return the best hit of each article that is about as relevant as the best hit, best first."""
    least = MIN_RELATED_RELEVANCE * relevance(subject, hits[0], idf)
    best_of_article = {hit.passage.article: hit for hit in reversed(hits)}
    unique = sorted(best_of_article.values(), key=lambda hit: hit.rank)
    return [hit for hit in unique if relevance(subject, hit, idf) >= least]


def relevance(subject: SearchQuery, hit: Hit, idf: Idf) -> float:
    """Return the share of a subject's terms, weighted by IDF, that a hit contains, 0 to 1."""
    weights = idf(terms(f"{subject.question} {subject.context_text}"))
    if not weights:
        return 0.0
    known = set(terms(f"{hit.passage.title} {hit.passage.date or ''} {hit.passage.text}"))
    return sum(weight for term, weight in weights.items() if term in known) / sum(weights.values())


# -- parts of answers


def _missing_part(part: Part) -> CitedSentence:
    """Return the sentence that says that the articles do not answer a part of the question."""
    question = part.query.question.rstrip(" ?.")
    text = phrase("part_not_answered", question=f"{question}?")
    return CitedSentence(Sentence("", Verdict.SUPPORTED, phrase=text))


def _best_within(evidence: Sequence[Evidence], passage: Excerpt) -> Excerpt:
    """Return the best sentence of a passage."""
    within = (
        item.sentence
        for item in evidence
        if item.sentence.article == passage.article
        and passage.start <= item.sentence.start < passage.end
    )
    return next(within, passage)


def _with_preceding(evidence: Evidence, passage: Excerpt) -> Excerpt:
    """Return the sentence with the one before it that it refers to."""
    if evidence.preceding is None:
        return evidence.sentence
    offset = passage.start
    return excerpt_part(passage, evidence.preceding.start - offset, evidence.sentence.end - offset)


def _is_short(text: str) -> bool:
    """Return whether a span is a short answer rather than parts of several clauses."""
    return len(words(text)) <= MAX_SHORT_ANSWER_WORDS and not _CLAUSE_BOUNDARY.search(text)


def _as_sentence(text: str) -> str:
    """Return a short answer as a sentence: with a capital letter and a full stop."""
    text = " ".join(text.split()).rstrip(",;:")
    full_stop = "" if text.endswith((".", "!", "?")) else "."
    return f"{text[:1].upper()}{text[1:]}{full_stop}"


def with_sentences(answer: Answer, cited: Sequence[CitedSentence]) -> Answer:
    """Return the answer with these sentences; it is QUOTED if it cites nothing but quotations."""
    quoted = any(sentence.quoted for sentence, _ in cited)
    own = any(sources and not sentence.quoted for sentence, sources in cited)
    mode = Mode.QUOTED if quoted and not own else Mode.WRITTEN
    return _with_cited_text(answer, mode, number_citations(cited))


def _with_cited_text(answer: Answer, mode: Mode, cited_text: CitedText) -> Answer:
    return replace(
        answer, mode=mode, sentences=cited_text.sentences, citations=cited_text.citations
    )


def compose_prompt(
    query: SearchQuery, evidence: Sequence[Evidence], generator: LanguageModel, encoder: Encoder
) -> Prompt:
    """Return the prompt for a query, with as much of the evidence as the generator handles well."""
    profile = generator.profile
    sources = profile.select_evidence(evidence, encoder.count_tokens)
    max_tokens = generator.context - profile.answer_tokens
    return prompts.compose(query.text, sources, profile, generator.count_tokens, max_tokens)


def refuse(
    answer: Answer,
    query: SearchQuery,
    hits: Sequence[Hit],
    timer: PhaseTimer,
    evidence: Sequence[Evidence] = (),
) -> Answer:
    """Return the answer, completed as a refusal."""
    return finish(replace(answer, refusal=build_refusal(query, hits, evidence)), timer)


def finish(answer: Answer, timer: PhaseTimer) -> Answer:
    """Return the answer, marked as DONE, with its final timings and without its draft."""
    stages = timer.stages()
    timings = replace(answer.timings, total_s=sum(stages.values()), stages=stages)
    return replace(answer, stage=Stage.DONE, draft="", timings=timings)


def _is_rambling(draft: str) -> bool:
    """Whether the last sentence of the draft is a question, or repeats an earlier sentence."""
    if not draft.endswith((".", "?", "!", "\n", " ")):
        return False
    draft_sentences = [draft[start:end] for start, end in sentences(draft)]
    if not draft_sentences:
        return False
    *earlier, last = draft_sentences
    return last.endswith("?") or last in earlier
