"""Strategies for making an answer from evidence.

1. A generator trained for extractive question answering gives a *short answer*, which is verified and
   followed by the quotation that supports it.
2. Any other generator writes a *draft*; its unsupported sentences are removed.
3. Where nothing of that is supported, or there is no working generator, the answer is a *quotation*.
4. Where the confidence is below the threshold, the answer is a *refusal*.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from rag.answering import confidence
from rag.answering.citations import CitedText
from rag.answering.evidence import disagree, select_quotes
from rag.answering.quote import quote_evidence, with_supporting_quotes
from rag.answering.refusal import build_refusal
from rag.answering.verify import verify_draft
from rag.errors import GeneratorCrashed
from rag.models.embedding.encoder import Encoder
from rag.models.entailment import EntailmentModel
from rag.models.generation import prompts
from rag.models.generation.base import LanguageModel
from rag.text.sentences import sentences
from rag.text.tokens import terms, words
from rag.timing import Phase, PhaseTimer
from rag.types import (
    Answer,
    Evidence,
    Excerpt,
    ExtractiveAnswer,
    Hit,
    Mode,
    Notice,
    Prompt,
    SearchQuery,
    Stage,
)

REDUNDANT_QUOTE_SHARE = 0.85
"""Length of an answer, relative to its source, from which on quoting the source would repeat it."""


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What an answer is made from.

    Attributes:
        query: The standalone question.
        hits: The passages retrieved for it.
        evidence: Their sentences, best first.
        threshold: The confidence below which the question is refused.
        timer: Runs since the question was asked.
    """

    query: SearchQuery
    hits: Sequence[Hit]
    evidence: Sequence[Evidence]
    threshold: float
    timer: PhaseTimer


class AnswerWriter:
    """Makes answers from evidence with one generator."""

    def __init__(
        self,
        generator: LanguageModel,
        encoder: Encoder,
        entailment_model: EntailmentModel | None = None,
    ) -> None:
        self._generator = generator
        self._encoder = encoder
        self._entailment_model = entailment_model

    def write(self, answer: Answer, context: AnswerContext) -> Iterator[Answer]:
        """Yield the answer in progress, and finally the answer that is DONE.

        Args:
            answer: The answer so far; its confidence is the score of the best evidence.
            context: What the answer is made from.
        """
        if confidence.upper_bound(answer.confidence) < context.threshold:
            yield refuse(answer, context)
            return
        if self._generator.problem:
            yield _answer_without_generator(answer, context, Notice.GENERATOR_OFF)
            return
        try:
            yield from self._answer_with_generator(answer, context)
        except GeneratorCrashed:
            yield _answer_without_generator(answer, context, Notice.GENERATOR_CRASHED)

    def _answer_with_generator(self, answer: Answer, context: AnswerContext) -> Iterator[Answer]:
        """Yield the answer as the generator writes it. Raises GeneratorCrashed."""
        with context.timer.measure(Phase.COMPOSE_PROMPT):
            prompt = compose_prompt(context.query, context.evidence, self._generator, self._encoder)
        used = len(prompt.sources)
        omitted = max(0, len(context.evidence) - used)
        answer = replace(answer, evidence_used=used, evidence_omitted=omitted)
        short_answer = yield from self._generate_short_answer(answer, prompt)
        if short_answer is None:
            yield from self._answer_by_draft(answer, context, prompt)
        else:
            yield from self._answer_by_short_answer(answer, context, prompt, short_answer)

    # -- short answers

    def _generate_short_answer(
        self, answer: Answer, prompt: Prompt
    ) -> Generator[Answer, None, ExtractiveAnswer | None]:
        """Return the short answer, or None if the generator gives none; yield `answer` meanwhile."""
        if not prompt.sources:
            return None
        with closing(self._generator.short_answer(prompt.messages)) as steps:
            for short_answer in steps:
                if short_answer is not None:
                    return short_answer
                yield answer
        return None

    def _answer_by_short_answer(
        self,
        answer: Answer,
        context: AnswerContext,
        prompt: Prompt,
        short_answer: ExtractiveAnswer,
    ) -> Iterator[Answer]:
        """Yield the short answer if it is supported, else a quotation, or a refusal."""
        combined = confidence.confidence(context.evidence, short_answer)
        answer = replace(answer, confidence=combined)
        answer = _with_short_answer_as_draft(answer, prompt, short_answer, context.timer)
        if combined < context.threshold:
            yield refuse(answer, context)
            return
        yield answer
        with context.timer.measure(Phase.CHECK):
            evidence = confidence.rerank_by_answer(context.evidence, prompt.sources, short_answer)
            quotes = select_quotes(context.query, evidence)
            is_uncertain = short_answer.probability < confidence.MIN_PROBABILITY
            if is_uncertain or prompts.is_refusal(short_answer.text):
                final = _with_cited_text(answer, Mode.QUOTED, quote_evidence(quotes))
            else:
                final = self._verify(answer, [quotes[0].sentence], quotes)
        yield finish(final, context.timer)

    # -- drafts

    def _answer_by_draft(
        self, answer: Answer, context: AnswerContext, prompt: Prompt
    ) -> Iterator[Answer]:
        """Yield the draft as it grows; then what of it is supported, a quotation, or a refusal."""
        if answer.confidence < context.threshold:
            yield refuse(answer, context)
            return
        drafted = answer
        for drafted in self._stream_draft(answer, prompt, context.timer):
            yield drafted
        if prompts.is_refusal(drafted.draft):
            yield refuse(drafted, context)
            return
        with context.timer.measure(Phase.CHECK):
            quotes = select_quotes(context.query, context.evidence)
            final = self._verify(drafted, prompt.sources, quotes)
        yield finish(final, context.timer)

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

    # -- verification

    def _verify(
        self, answer: Answer, sources: Sequence[Excerpt], quotes: Sequence[Evidence]
    ) -> Answer:
        """Return the supported sentences of the draft, or the quotes if there are none.

        A draft that rests on nothing but the best quote is followed by that quote, unless it already
        says all of it. If the two quotes disagree, they replace the draft, which cannot speak for both.

        Args:
            answer: The answer with its complete draft.
            sources: The excerpts that may support the draft.
            quotes: The evidence selected for quoting, best first.
        """
        score_entailment = self._entailment_model.predict if self._entailment_model else None
        question = answer.standalone_question
        verified = verify_draft(answer.draft, question, sources, score_entailment)
        best_quote = quotes[0].sentence
        supported = [sentence.text for sentence in verified.sentences if sentence.supported]
        supported_text = " ".join(supported)
        rests_on_best = [citation.quote for citation in verified.citations] == [best_quote]
        if supported_text and not rests_on_best:
            return _with_cited_text(answer, Mode.WRITTEN, verified)
        quotes_disagree = len(quotes) > 1 and disagree(question, *quotes)
        if supported_text and not quotes_disagree:
            is_redundant = _covers_source(supported_text, best_quote)
            supporting = [item.sentence for item in (quotes[1:] if is_redundant else quotes)]
            cited_text = with_supporting_quotes(verified, best_quote, supporting)
            return _with_cited_text(answer, Mode.WRITTEN, cited_text)
        quotation = quote_evidence(quotes)
        rejected = tuple(sentence for sentence in verified.sentences if not sentence.supported)
        cited_text = replace(quotation, sentences=quotation.sentences + rejected)
        return _with_cited_text(answer, Mode.QUOTED, cited_text)


def compose_prompt(
    query: SearchQuery, evidence: Sequence[Evidence], generator: LanguageModel, encoder: Encoder
) -> Prompt:
    """Return the prompt for a query, with as much of the evidence as the generator handles well."""
    profile = generator.profile
    sources = profile.select_evidence(evidence, encoder.count_tokens)
    max_tokens = generator.context - profile.answer_tokens
    return prompts.compose(query.text, sources, profile, generator.count_tokens, max_tokens)


def refuse(answer: Answer, context: AnswerContext) -> Answer:
    """Return the answer, completed as a refusal."""
    refusal = build_refusal(context.query, context.hits)
    return finish(replace(answer, refusal=refusal), context.timer)


def finish(answer: Answer, timer: PhaseTimer) -> Answer:
    """Return the answer, marked as DONE, with its final timings and without its draft."""
    stages = timer.stages()
    timings = replace(answer.timings, total_s=sum(stages.values()), stages=stages)
    return replace(answer, stage=Stage.DONE, draft="", timings=timings)


def _answer_without_generator(answer: Answer, context: AnswerContext, notice: Notice) -> Answer:
    """Return the best evidence as a quotation, or a refusal."""
    answer = replace(answer, notice=notice)
    if answer.confidence < context.threshold:
        return refuse(answer, context)
    with context.timer.measure(Phase.CHECK):
        quotation = quote_evidence(select_quotes(context.query, context.evidence))
    return finish(_with_cited_text(answer, Mode.QUOTED, quotation), context.timer)


def _with_short_answer_as_draft(
    answer: Answer, prompt: Prompt, short_answer: ExtractiveAnswer, timer: PhaseTimer
) -> Answer:
    """Make a sentence of the short answer, and add its durations to the timer."""
    timer.add(Phase.READ_PROMPT, short_answer.read_s)
    timer.add(Phase.WRITE, short_answer.write_s)
    timings = replace(
        answer.timings,
        prompt_tokens=prompt.tokens,
        first_token_s=timer.total_s,
        answer_tokens=short_answer.tokens,
    )
    text = short_answer.text
    full_stop = "" if text.endswith((".", "!", "?")) else "."
    draft = f"{text[:1].upper()}{text[1:]}{full_stop}" if text else ""
    return replace(answer, draft=draft, timings=timings)


def _with_cited_text(answer: Answer, mode: Mode, cited_text: CitedText) -> Answer:
    return replace(
        answer,
        mode=mode,
        sentences=cited_text.sentences,
        citations=cited_text.citations,
    )


def _is_rambling(draft: str) -> bool:
    """Whether the last sentence of the draft is a question, or repeats an earlier sentence."""
    if not draft.endswith((".", "?", "!", "\n", " ")):
        return False
    draft_sentences = [draft[start:end] for start, end in sentences(draft)]
    if not draft_sentences:
        return False
    *earlier, last = draft_sentences
    return last.endswith("?") or last in earlier


def _covers_source(text: str, source: Excerpt) -> bool:
    """Whether a text contains so much of its source, in the same words, that a quote would repeat it."""
    is_long = len(words(text)) >= REDUNDANT_QUOTE_SHARE * len(words(source.text))
    return is_long and set(terms(text)) <= set(terms(source.text))
