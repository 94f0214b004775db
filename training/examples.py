"""Training examples of the reader and the verifier, made from reading-comprehension questions.

The reader learns where a passage answers a question, or that it does not; the verifier learns whether a
passage supports a claim, contradicts it, or does not state it. Both are also trained on what deceives:
a passage that has much in common with the question but does not answer it, a question with another name
or figure in it, a claim with another answer from the same passage.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from sklearn.feature_extraction.text import TfidfVectorizer

from rag.text.chunking import full_heading
from rag.text.sentences import sentences
from training.corpora import ReadingQuestion
from training.statements import corrupt, soften, to_statement, to_yes_no

HARD_NEGATIVES, SWAPPED_QUESTIONS = 6_000, 3_000
"""Questions with a similar passage that does not answer, and with another name or figure."""

ANSWER_CLAIMS, SENTENCE_CLAIMS = 12_000, 5_000
"""Claims made from a question and an answer, and from a sentence of a passage."""

WINDOWS = (300, 450, 600, 700)
"""Characters of a passage that an example reads; one of these is drawn."""

MAX_CLAIM_ANSWER_WORDS = 8

MONTHS = "January February March April May June July August September October November December"


class Label(IntEnum):
    """What a passage says about a claim."""

    SUPPORTED = 0
    CONTRADICTED = 1
    NOT_STATED = 2


@dataclass(frozen=True, slots=True)
class Example:
    """A question or claim beside a passage.

    Attributes:
        text: The question or claim.
        heading: The title of the passage's article, perhaps with a date.
        span: Start and end of the answer in the passage; None if it does not answer, or for a claim.
        label: What the passage says about the claim; None for a question.
    """

    kind: str
    text: str
    heading: str
    passage: str
    span: tuple[int, int] | None = None
    label: Label | None = None


def build_span_examples(questions: Sequence[ReadingQuestion], seed: int) -> list[Example]:
    """Build the reader's examples, in random order."""
    rng = random.Random(seed)
    answerable = [question for question in questions if question.span]
    examples = [_span_example("question", question, rng) for question in questions]
    chosen = rng.sample(answerable, min(HARD_NEGATIVES, len(answerable)))
    for question, passage in zip(chosen, find_similar_passages(chosen, questions), strict=True):
        if passage is not None:
            other = replace(question, passage=passage.passage, title=passage.title, span=None)
            examples.append(_span_example("similar passage", other, rng))
    names = _names_by_kind(answerable)
    for question in rng.sample(answerable, min(SWAPPED_QUESTIONS, len(answerable))):
        if (swapped := _swap_name(question, names, rng)) is not None:
            examples.append(_span_example("other name", swapped, rng))
    rng.shuffle(examples)
    return examples


def build_claim_examples(questions: Sequence[ReadingQuestion], seed: int) -> list[Example]:
    """Build the verifier's examples, in random order."""
    rng = random.Random(seed + 1)
    by_passage = defaultdict(list)
    for question in questions:
        by_passage[question.passage].append(question)
    short = [
        q for q in questions if not q.span or len(_answer(q).split()) <= MAX_CLAIM_ANSWER_WORDS
    ]
    chosen = rng.sample(short, min(ANSWER_CLAIMS, len(short)))
    examples = [
        example
        for question, similar in zip(chosen, find_similar_passages(chosen, questions), strict=True)
        if (example := _answer_claim(question, by_passage[question.passage], similar, rng))
    ]
    chosen = rng.sample(short, min(SENTENCE_CLAIMS, len(short)))
    examples += [
        example
        for question, similar in zip(chosen, find_similar_passages(chosen, questions), strict=True)
        if (example := _sentence_claim(question, similar, rng))
    ]
    rng.shuffle(examples)
    return examples


def find_similar_passages(
    chosen: Sequence[ReadingQuestion], questions: Sequence[ReadingQuestion]
) -> list[ReadingQuestion | None]:
    """Return for each question one of the passages most similar to it that holds no answer to it."""
    passages = list({question.passage: question for question in questions}.values())
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True, dtype="float32")
    matrix = vectorizer.fit_transform(f"{p.title} {p.passage}" for p in passages).T.tocsc()
    found: list[ReadingQuestion | None] = []
    for start in range(0, len(chosen), 256):
        batch = chosen[start : start + 256]
        scores = (vectorizer.transform(f"{q.title} {q.question}" for q in batch) @ matrix).tocsr()
        for row, question in enumerate(batch):
            part = scores[row]
            order = part.indices[part.data.argsort()[::-1][:8]]
            found.append(
                next((passages[i] for i in order if not _holds_answer(passages[i], question)), None)
            )
    return found


def _holds_answer(passage: ReadingQuestion, question: ReadingQuestion) -> bool:
    text = passage.passage.lower()
    return passage.passage == question.passage or any(a.lower() in text for a in question.answers)


def _span_example(kind: str, question: ReadingQuestion, rng: random.Random) -> Example:
    passage, span = _window(question.passage, question.span, rng)
    return Example(kind, _retype(question.question, rng), _heading(question, rng), passage, span)


def _heading(question: ReadingQuestion, rng: random.Random) -> str:
    """Return the title, without or with some date, since articles are read with their dates."""
    if rng.random() < 0.5:
        return question.title
    date = f"{rng.randint(1985, 2026)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    return full_heading(question.title, date)


def _window(
    passage: str, span: tuple[int, int] | None, rng: random.Random
) -> tuple[str, tuple[int, int] | None]:
    """Cut a passage to a random window of whole words around the span."""
    size = rng.choice(WINDOWS)
    if len(passage) <= size:
        return passage, span
    first, last = span or (rng.randrange(len(passage)),) * 2
    earliest = max(0, min(first, last - size))
    start = rng.randint(earliest, max(earliest, min(first, len(passage) - size)))
    start = 0 if start == 0 else passage.rfind(" ", 0, start + 1) + 1
    end = passage.find(" ", max(last, start + size))
    text = passage[start : end if end >= 0 else None]
    return text, (span[0] - start, span[1] - start) if span else None


def _retype(question: str, rng: random.Random) -> str:
    """Return a question as people type it: sometimes without its mark, or with a letter wrong."""
    if rng.random() < 0.3:
        question = question.rstrip(" ?")
    if rng.random() < 0.08:
        words = question.split(" ")
        index = rng.randrange(len(words))
        word = words[index]
        if len(word) > 4:
            at = rng.randrange(1, len(word) - 1)
            words[index] = rng.choice(
                (word[:at] + word[at + 1 :], word[:at] + word[at + 1] + word[at] + word[at + 2 :])
            )
        question = " ".join(words)
    return question


_NAME = re.compile(
    r"(?<=[a-z,] )(?:[A-Z][\w'’.-]+(?: (?:of |the |de )?(?=[A-Z]))?)+|\b\d[\d,.]*\d\b|\b\d\b"
)


def _kind_of(name: str) -> str:
    """Return the kind of a name: a year, a figure, a month, one word or several."""
    if re.fullmatch(r"(1[5-9]|20)\d\d", name):
        return "year"
    if name[0].isdigit():
        return "figure"
    if name in MONTHS:
        return "month"
    return "several words" if " " in name else "one word"


def _names_by_kind(questions: Sequence[ReadingQuestion]) -> dict[str, list[str]]:
    names = defaultdict(set)
    for question in questions:
        for match in _NAME.finditer(question.question):
            names[_kind_of(match[0])].add(match[0])
    return {kind: sorted(members) for kind, members in names.items()}


def _swap_name(
    question: ReadingQuestion, names: dict[str, list[str]], rng: random.Random
) -> ReadingQuestion | None:
    """Return the question with one name replaced by another, preferably one from its own passage."""
    matches = list(_NAME.finditer(question.question))
    if not matches:
        return None
    match = rng.choice(matches)
    kind = _kind_of(match[0])
    beside = [m[0] for m in _NAME.finditer(question.passage) if _kind_of(m[0]) == kind]
    usable = [
        name
        for name in (beside if rng.random() < 0.5 and beside else names[kind])
        if name != match[0] and name not in question.question and name not in question.answers
    ]
    if not usable:
        return None
    text = (
        question.question[: match.start()] + rng.choice(usable) + question.question[match.end() :]
    )
    return replace(question, question=text, answers=(), span=None)


def _answer(question: ReadingQuestion) -> str:
    return question.passage[slice(*question.span)] if question.span else ""


def _answer_claim(
    question: ReadingQuestion,
    same_passage: Sequence[ReadingQuestion],
    similar: ReadingQuestion | None,
    rng: random.Random,
) -> Example | None:
    """Return a claim made from a question and its answer, or from another answer."""
    answer = _answer(question)
    chance = rng.random()
    if answer and chance < 0.4:
        claim, label, source = answer, Label.SUPPORTED, question
    elif answer and chance < 0.8:
        other = _other_answer(question, same_passage, rng)
        if other is None:
            return None
        claim, label, source = other, Label.CONTRADICTED, question
    elif answer:
        if similar is None:
            return None
        claim, label, source = answer, Label.NOT_STATED, replace(similar, span=None)
    else:
        other = _other_answer(question, same_passage, rng)
        if other is None:
            return None
        claim, label, source = other, Label.NOT_STATED, question
    passage, _ = _window(source.passage, source.span, rng)
    if label is Label.CONTRADICTED and claim not in passage:
        label = Label.CONTRADICTED if answer in passage else Label.NOT_STATED
    text = _phrase(question.question, claim, rng)
    return Example("answer claim", text, _heading(source, rng), passage, label=label)


def _phrase(question: str, answer: str, rng: random.Random) -> str:
    """Return a claim: a statement, a yes/no question, or the question with the answer after it."""
    chance = rng.random()
    if chance < 0.6 and (statement := to_statement(question, answer)):
        return statement
    if chance < 0.8 and (yes_no := to_yes_no(question, answer)):
        return yes_no
    return f"{question.rstrip(' ?')}? {answer}"


def _other_answer(
    question: ReadingQuestion, same_passage: Sequence[ReadingQuestion], rng: random.Random
) -> str | None:
    """Return another span of the passage, of the answer's kind where there is one."""
    answers = [answer.lower() for answer in question.answers]
    kind = _kind_of(_answer(question)) if question.span else None
    candidates = [_answer(other) for other in same_passage if other.span]
    candidates += [match[0] for match in _NAME.finditer(question.passage)]
    usable = sorted(
        {
            c
            for c in candidates
            if c
            and len(c.split()) <= MAX_CLAIM_ANSWER_WORDS
            and c.lower() not in question.question.lower()
            and not any(c.lower() in a or a in c.lower() for a in answers)
        }
    )
    same_kind = [c for c in usable if _kind_of(c) == kind]
    pool = same_kind if same_kind and rng.random() < 0.8 else usable
    return rng.choice(pool) if pool else None


def _sentence_claim(
    question: ReadingQuestion, similar: ReadingQuestion | None, rng: random.Random
) -> Example | None:
    """Return a claim made from a sentence of a passage, reworded, changed, or beside another passage."""
    passage, _ = _window(question.passage, question.span, rng)
    spans = [(s, e) for s, e in sentences(passage) if 30 <= e - s <= 250]
    if not spans:
        return None
    sentence = passage[slice(*rng.choice(spans))]
    chance = rng.random()
    if chance < 0.4:
        return Example(
            "sentence",
            soften(sentence, rng),
            _heading(question, rng),
            passage,
            label=Label.SUPPORTED,
        )
    if chance < 0.8:
        others = [match[0] for match in _NAME.finditer(question.passage)]
        changed = corrupt(sentence, rng, others)
        if changed is None:
            return None
        if rng.random() < 0.5:
            changed = soften(changed, rng)
        return Example(
            "sentence", changed, _heading(question, rng), passage, label=Label.CONTRADICTED
        )
    if similar is None or similar.passage == question.passage:
        return None
    passage, _ = _window(similar.passage, None, rng)
    return Example(
        "sentence", soften(sentence, rng), _heading(similar, rng), passage, label=Label.NOT_STATED
    )
