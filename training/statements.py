"""Claims out of questions and sentences: statements, yes/no questions, false and harmless variants.

Everything here works by rules on words, without a model, so that a training set is made in seconds and
the same seed makes the same set. A rule that is not sure of its result returns None.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import lemminflect

Words = list[str]

MAX_QUESTION_WORDS, MAX_ANSWER_WORDS = 40, 20
"""Longer questions and answers are left out: rules on words are seldom right on them."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


BE = _set("is are was were")
DO = _set("do does did")
HAVE = _set("has have had")
MODALS = _set("can could will would shall should may might must")
NEGATED = _set(
    "isn't aren't wasn't weren't don't doesn't didn't hasn't haven't hadn't can't cannot couldn't "
    "won't wouldn't shouldn't"
)
AUXILIARIES = BE | DO | HAVE | MODALS | NEGATED
PERSONAL = _set("i you he she it we they there")
PRONOUNS = PERSONAL | _set("him her us them this these those someone people everyone")
DETERMINERS = _set(
    "the a an this these those his her its their our my your every each some any no all both another "
    "most many several few one two three four five six seven eight nine ten"
)
PREPOSITIONS = _set(
    "of in on at to from for with by as into about during between against among through over under "
    "within without after before since until till around near across along behind beyond onto upon "
    "toward towards via per like than off out up down inside outside throughout despite alongside"
)
STRANDED = PREPOSITIONS - _set("during until till since before after despite per than throughout")
"""Prepositions that a question can leave behind its verb, as in "What did it consist of in 1990?"."""
COMPOUND = _set(
    "out|of up|to because|of prior|to due|to as|of along|with from|within out|from in|between"
)
SUBORDINATORS = _set("when while because if although though whereas whether unless where once")
RELATIVES = _set("that which who whom whose what how why")
CONJUNCTIONS = _set("and or but nor")
CLOSED = (
    AUXILIARIES | PRONOUNS | DETERMINERS | PREPOSITIONS | SUBORDINATORS | RELATIVES | CONJUNCTIONS
) | _set("not never also only just ever then than there here be been being's 's me")
ADVERBS = _set(
    "sometimes not first last also originally later still ever now never once always often usually "
    "currently then only just already finally initially mostly mainly again actually soon"
)
NOT_VERBS = _set(
    "united aged dead set-up beloved sacred wicked hundred bed feed seed need used-to street"
)
COMMON_VERBS = _set("take make give get have buy see help keep find begin start want try go come")
CHAINED = _set(
    "want try decide plan hope begin start continue need have like refuse attempt agree fail use help "
    "seek choose intend expect promise threaten tend allow learn wish prefer manage offer force require "
    "suppose order believe urge permit ask tell mean"
)
"""Verbs whose object a question can ask for through an infinitive, as in "What did he want to buy?"."""
EXPECTING = _set(
    "force allow expect require suppose intend order believe urge permit ask tell mean"
)
"""Verbs whose passive takes an infinitive, as in "What was he forced to sell?"."""
DITRANSITIVE = _set(
    "call name give offer award tell teach ask pay send consider make appoint elect cost title dub lend "
    "grant hand sell show declare designate rename nickname term label rate rank vote estimate"
)
MOTION = _set(
    "go move travel flee sail fly return come head march relocate retreat emigrate migrate escape send "
    "transfer deport exile take drive run walk bring lead ship"
)
PERIODS = _set("year month day date century decade time season summer winter week age era period")
MONTHS = (
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTH, DAY = f"(?:{'|'.join(MONTHS)})", f"(?:{'|'.join(WEEKDAYS)})"
MEASURES = _set("long wide tall high deep thick old")
BARE_MEASURES = _set("large big heavy far fast hot cold expensive short strong")
SHARES = _set("percentage percent proportion fraction share")
UNCLEAR = _set("way manner extent kind type sort kinds types sorts")
PLACES_AT = _set(
    "university college school airport station stadium arena hall museum hotel hospital theatre theater "
    "institute academy club headquarters cathedral house palace restaurant court"
)


# --- words -----------------------------------------------------------------------------------------


@cache
def _readings(word: str) -> dict[str, tuple[str, ...]]:
    """Return the lemmas of a lower-case word by part of speech; empty for names and closed classes."""
    if word in CLOSED or not word.isalpha():
        return {}
    readings: dict[str, tuple[str, ...]] = lemminflect.getAllLemmas(word)
    return readings


@cache
def _lemma(word: str, tag: str) -> str | None:
    """Return the verb of which a word is the form `tag` (Penn Treebank), if it is one."""
    if word in NOT_VERBS:
        return None
    for lemma in _readings(word).get("VERB", ()):
        if word in lemminflect.getInflection(lemma, tag):
            return lemma
    return None


@cache
def _inflect(verb: str, tag: str) -> str | None:
    """Return a form of a verb; of several, the first that is listed."""
    special = {"be": {"VBD": "was", "VBZ": "is"}, "have": {"VBZ": "has"}, "lie": {"VBD": "lay"}}
    if verb in special and tag in special[verb]:
        return special[verb][tag]
    forms = lemminflect.getInflection(verb, tag)
    return forms[0] if forms else None


def _is_name(word: str) -> bool:
    return word[:1].isupper() and word != "I"


def _is_adverb(word: str) -> bool:
    return word in ADVERBS or (word.endswith("ly") and "ADV" in _readings(word))


def _is_adjective(word: str) -> bool:
    readings = _readings(word)
    return "ADJ" in readings and "NOUN" not in readings


def _is_number(text: str) -> bool:
    return bool(re.match(NUMBER, text, re.I))


def _capitalise(text: str) -> str:
    if text[1:2].isupper():  # iPhone
        return text
    return text[:1].upper() + text[1:]


def _decapitalise(text: str) -> str:
    """Lower the first letter of a text that begins with a word that is no name."""
    first, _, _ = text.partition(" ")
    lower, following = first.lower().strip(","), text[len(first) + 1 : len(first) + 2]
    readings = set(_readings(lower))
    common = following.islower() and (readings - {"NOUN"} or (readings and lower.endswith("s")))
    if lower in CLOSED - {"i"} or (common and first.istitle()):
        return text[:1].lower() + text[1:]
    return text


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def _spell(number: int) -> str:
    """Return a number below 100 in words."""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


NUMBER_WORDS = {_spell(number): number for number in range(2, 100)}
_NUMBER_WORD = "|".join(sorted((*NUMBER_WORDS, "one", "a", "no"), key=len, reverse=True))
NUMBER = (
    r"^(?:(?:about|around|over|under|nearly|almost|approximately|roughly|some|at least|up to|more than|"
    r"less than|fewer than|only|estimated|just)\s+)*"
    rf"(?:[\d][\d.,]*|(?:{_NUMBER_WORD})(?=\s|$))(?:\s*(?:hundred|thousand|million|billion|trillion|dozen))*$"
)


ORDINAL = (
    r"(the )?(\d+(st|nd|rd|th)|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)"
)


# --- clauses ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clause:
    """A main clause: what a statement and a yes/no question have in common.

    Attributes:
        lead: What comes before the subject, with its comma; may be empty.
        subject: The subject, with letters as in the middle of a sentence.
        auxiliary: The auxiliary or form of "be" that a yes/no question begins with.
        finite: The full verb of a statement where the auxiliary is "do", as "bought"; else None.
        adverbs: What stands between auxiliary and verb.
        verb: The verb after the auxiliary, as "buy" or "bought"; empty after a copula.
        rest: Everything after the verb.
    """

    lead: str
    subject: str
    auxiliary: str
    finite: str | None
    adverbs: str
    verb: str
    rest: str

    def statement(self) -> str:
        """Return the clause as a declarative sentence."""
        verbs = (
            [self.adverbs, self.finite]
            if self.finite
            else [self.auxiliary, self.adverbs, self.verb]
        )
        return _sentence([self.lead, self.subject, *verbs, self.rest], ".")

    def question(self) -> str:
        """Return the clause as a yes/no question."""
        parts = [self.auxiliary, _decapitalise(self.subject), self.adverbs, self.verb, self.rest]
        return _sentence([self.lead, *parts], "?")


def _sentence(parts: Sequence[str | None], end: str) -> str:
    text = " ".join(part for part in parts if part)
    text = re.sub(r"\s+([,.;:?!])", r"\1", text).rstrip(" .,;?!")
    return _capitalise(text) + end


def to_statement(question: str, answer: str) -> str | None:
    """Return the declarative sentence that a wh-question and its short answer make.

    Args:
        question: A question such as "When was the ship freed?"; its case and punctuation do not matter.
        answer: A short answer such as "29 March".

    Returns:
        A sentence such as "The ship was freed on 29 March.", or None where no rule is sure.
    """
    clause = _clause(question, answer)
    return clause.statement() if clause else None


def to_yes_no(question: str, answer: str) -> str | None:
    """Return the yes/no question that asks whether an answer is right.

    Args:
        question: A wh-question such as "When was the ship freed?".
        answer: A short answer such as "29 March".

    Returns:
        A question such as "Was the ship freed on 29 March?", or None where no rule is sure.
    """
    clause = _clause(question, answer)
    return clause.question() if clause else None


def _clause(question: str, answer: str) -> Clause | None:
    phrase = _clean_answer(answer)
    text = re.sub(r"[?.,!]+\"$", '"', re.sub(r"\s+", " ", question).strip(" ?.!"))
    text = re.sub(r"\s+([,;?!])", r"\1", text).replace("’", "'")
    lead, words = _split_lead(text.split(" "))
    if (
        phrase is None
        or not 2 <= len(words) <= MAX_QUESTION_WORDS
        or words[0].lower() in AUXILIARIES
    ):
        return None
    for rule in (_asked_after_preposition, _asked_first, _asked_in_place):
        clause = rule(words, phrase)
        if clause:
            return replace(clause, lead=lead)
    return None


def _clean_answer(answer: str) -> str | None:
    """Return the answer without outer punctuation, or None if it is no phrase."""
    text = re.sub(r"\s+", " ", answer).strip(" ,;:.")
    if text.count('"') == 1 or text.count("(") != text.count(")"):
        text = text.replace('"', "").replace("(", "").replace(")", "").strip()
    if not text or len(text.split()) > MAX_ANSWER_WORDS or re.search(r"[.!?;]\s+\w+ \w+", text):
        return None
    return re.sub(
        r"^(The|A|An|His|Her|Its|Their|In|On|By|To|At|Because|For)\b(?=\s+\S)", _lower, text
    )


def _lower(match: re.Match[str]) -> str:
    return match.group().lower()


WH = _set("who whom what which when where why how whose")


def _split_lead(words: Words) -> tuple[str, Words]:
    """Split what stands before the question word and ends in a comma from the rest."""
    for at, word in enumerate(words[:12]):
        if word.lower() in WH:
            return "", words
        following = words[at + 1].lower() if at + 1 < len(words) else ""
        second = words[at + 2].lower() if at + 2 < len(words) else ""
        if word.endswith(",") and (following in WH or (following in PREPOSITIONS and second in WH)):
            return _capitalise(" ".join(words[: at + 1])), words[at + 1 :]
    return "", words


# --- the question word comes first -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """The wh-phrase of a question: its word, the words after it, and what follows the phrase.

    `adverbs` stand between the phrase and a verb that is no auxiliary, as in "Who first signed them?".
    """

    word: str
    noun: Words
    adverbs: Words
    rest: Words


def _asked_first(words: Words, answer: str) -> Clause | None:
    asked = _split_phrase(words)
    if asked is None:
        return None
    first = asked.rest[0].lower()
    if first not in AUXILIARIES:
        return _subject_question(asked, answer)
    if asked.rest[1:2] and asked.rest[1].lower() in AUXILIARIES:
        return None
    if len(asked.rest) == 1:
        return None
    rules = {"when": _when, "where": _where, "why": _why, "how": _how}
    return rules.get(asked.word, _what)(asked, answer)


def _split_phrase(words: Words) -> Asked | None:
    """Split a question into its wh-phrase and the rest, which begins with a finite verb."""
    word = words[0].lower()
    if (
        word not in WH
        or len(words) < 2
        or [word, words[1].lower()] in (["how", "come"], ["how", "about"])
    ):
        return None
    start = 2 if word == "how" and words[1].lower() not in AUXILIARIES else 1
    end = _finite_verb(words, start, needs_noun=start == 1 and word in ("which", "whose"))
    if end is None or (word in ("who", "whom", "when", "where", "why") and end > 2):
        return None
    noun = words[1:end]
    if {w.lower() for w in noun} & (RELATIVES | SUBORDINATORS | {"to"}):
        return None
    size = len(noun)
    while size and _is_adverb(noun[size - 1].lower()) and (word != "how" or size > 1):
        size -= 1
    if noun[size:] and words[end].lower() in AUXILIARIES:
        return None
    return Asked(word, noun[:size], noun[size:], words[end:])


def _finite_verb(words: Words, start: int, needs_noun: bool) -> int | None:
    """Return the index of the first finite verb at or after `start`.

    A form that may also be a noun or an adjective counts only where what follows cannot continue the
    noun phrase.
    """
    lower = [w.lower() for w in words]
    for at in range(start, len(words)):
        word = lower[at]
        if word in AUXILIARIES:
            return at
        if _is_name(words[at]) or (at == start and needs_noun):
            continue
        if at > 1 and (lower[at - 1] in PREPOSITIONS | DETERMINERS or _is_adjective(lower[at - 1])):
            continue
        past, third, base = (_lemma(word, tag) for tag in ("VBD", "VBZ", "VB"))
        if not (past or third or base):
            continue
        readings = _readings(word)
        following = lower[at + 1] if at + 1 < len(words) else ""
        if past and at == start and start == 1:
            return at
        if base and not past and at > start and not _plural_word(lower[at - 1]):
            continue
        if (
            past
            and "NOUN" not in readings
            and ("ADJ" not in readings or not _may_be_noun(following))
        ):
            return at
        sure = following in (PREPOSITIONS | DETERMINERS | PRONOUNS) - {"of"} or (
            at + 1 < len(words) and (_is_name(words[at + 1]) or _is_adverb(following))
        )
        later = any(w in AUXILIARIES for w in lower[at + 1 :])
        if (past or third) and at == start == 1 and not later:
            return at
        if at > start and not later and (sure or "NOUN" not in readings):
            return at
    return None


def _plural_word(word: str) -> bool:
    return word.endswith("s") or word in (
        "people",
        "men",
        "women",
        "children",
        "police",
        "many",
        "much",
    )


def _may_be_noun(word: str) -> bool:
    return bool(word) and word not in CLOSED and bool(_readings(word).get("NOUN"))


def _subject_question(asked: Asked, answer: str) -> Clause | None:
    """Put the answer in the subject's place: "Who won the final?"."""
    subject = _noun_answer(asked, answer)
    if subject is None or (asked.word in ("when", "where", "why")):
        return None
    if asked.word == "how" and asked.noun[0].lower() not in ("many", "much"):
        return None
    word, rest = asked.rest[0].lower(), asked.rest[1:]
    if word in ("happened", "happens", "happen") or _is_clause(answer):
        return None
    return _finite_clause(subject, word, rest, " ".join(asked.adverbs))


def _finite_clause(subject: str, word: str, rest: Words, adverbs: str) -> Clause | None:
    for tag, auxiliary in (("VBD", "did"), ("VBZ", "does"), ("VBP", "do")):
        verb = _lemma(word, tag)
        if verb:
            if auxiliary == "does" and _is_plural(subject):
                auxiliary, word = "do", verb
            return Clause("", subject, auxiliary, word, adverbs, verb, " ".join(rest))
    return None


def _noun_answer(asked: Asked, answer: str) -> str | None:
    """Return the noun phrase that replaces the wh-phrase, such as "160 people" for "how many people"."""
    noun = " ".join(asked.noun)
    if asked.word == "how":
        return _quantity(asked.noun, answer)
    if _is_verb_phrase(answer) or _is_clause(answer):
        return None
    if asked.noun and re.fullmatch(ORDINAL, answer, re.I):
        return f"the {answer.removeprefix('the ')} {asked.noun[-1]}"
    owner = next((i for i, w in enumerate(asked.noun, 1) if w.endswith(("'s", "s'"))), 0)
    if owner and not PREPOSITIONS & {w.lower() for w in asked.noun[:owner]}:
        return f"{answer}'s {' '.join(asked.noun[owner:])}" if asked.noun[owner:] else None
    if asked.word == "whose":
        return (
            f"{answer}{'' if answer.endswith(chr(39) + 's') else chr(39) + 's'} {noun}"
            if noun
            else None
        )
    if asked.noun and asked.noun[0].lower() in SHARES and len(asked.noun) > 2:
        share = f"{answer} percent" if _is_number(answer) else answer
        return f"{share} {' '.join(asked.noun[1:])}" if " of " not in answer else answer
    if asked.noun and (_is_number(answer) and not re.fullmatch(r"\d{4}", answer)):
        return None if asked.noun[-1].lower() not in ("number", "percentage", "amount") else answer
    if noun and " " not in answer and _is_adjective(answer.lower()):
        return None
    return answer


def _quantity(noun: Words, answer: str) -> str | None:
    """Return "160 people" for ("many", "people") and "160"."""
    kind, things = noun[0].lower(), noun[1:]
    if kind not in ("many", "much"):
        return None
    if not things:
        return answer
    lower = [w.lower() for w in things]
    if (
        lower[0] == "of"
        and re.search(r"\d|%|half|third|quarter|percent", answer)
        and " of " not in answer
    ):
        return f"{answer} {' '.join(things)}"
    if any(w in PREPOSITIONS - {"of"} for w in lower) or lower[0] in (
        "more",
        "fewer",
        "less",
        "other",
    ):
        return None
    if {w.rstrip("s") for w in lower} & {w.lower().rstrip("s") for w in answer.split()}:
        return answer
    if _is_number(answer):
        return f"{answer} {' '.join(things)}" if kind == "many" else None
    if kind == "much" and re.match(r"[$£€¥]|US\$", answer):
        return answer
    if kind == "much" and re.match(r"[\d.,]+ ?\w+$", answer):
        return f"{answer} of {' '.join(things)}"
    if re.match(r"[$£€¥\d]", answer) or kind == "much":
        return answer
    return None


def _is_clause(text: str) -> bool:
    """Tell whether an answer is a clause, with a subject and a finite verb of its own."""
    words = text.lower().split()
    if len(words) < 3:
        return False
    if words[0] in PERSONAL or any(w in AUXILIARIES - {"may", "will", "can"} for w in words[1:4]):
        return "that" not in words[:4] and "who" not in words[:4] and "which" not in words[:4]
    return any(
        _past_only(word) and (following in DETERMINERS or _is_name(text.split()[at + 1]))
        for at, (word, following) in enumerate(pairwise(words[1:]), 1)
    )


def _is_verb_phrase(text: str) -> bool:
    """Tell whether an answer is a bare verb phrase, such as "maintain the rule of law"."""
    words = text.split()
    first = words[0]
    if first.istitle() and len(words) > 1 and words[1].istitle():
        return False
    readings = _readings(first.lower())
    verb = _lemma(first.lower(), "VB") and "ADJ" not in readings
    second = words[1].lower() if len(words) > 1 else ""
    if (
        first.lower() in ("more", "less", "very", "too", "so")
        and len(words) > 1
        and not first.isupper()
    ):
        return second not in ("than",) and "NOUN" not in _readings(words[-1].lower())
    if verb and ("NOUN" not in readings or second in DETERMINERS | PRONOUNS | {"to"}):
        return True
    return len(words) > 1 and _is_adverb(first.lower()) and bool(_lemma(second, "VBN"))


def _is_plural(text: str) -> bool:
    """Tell whether a noun phrase takes a plural verb."""
    if re.search(r"&|\b(university|department|ministry|company|States)\b", text, re.I):
        return False
    words = re.split(r"\s(?:of|in|on|from|for|with|that|who|which)\s|,", text)[0].split()
    if "and" in text.split():
        return True
    head = words[-1] if words else ""
    nouns = _readings(head.lower()).get("NOUN", ())
    plural = bool(nouns) and head.lower() not in nouns and not head.endswith(("ics", "ss", "news"))
    return plural and (len(words) == 1 or not _is_name(head))


# --- what, who, which ------------------------------------------------------------------------------


def _what(asked: Asked, answer: str) -> Clause | None:
    auxiliary, rest = asked.rest[0], asked.rest[1:]
    if asked.noun and asked.noun[-1].lower() in PERIODS and rest[-1].lower() not in STRANDED:
        return _period(asked, answer)
    if asked.noun and asked.noun[0].lower() in UNCLEAR and len(asked.noun) < 2:
        return None
    phrase = _noun_answer(asked, answer)
    if phrase is None or {"happen", "happened"} & {w.lower() for w in rest}:
        return None
    if _begins_predicate(auxiliary.lower(), rest, bool(asked.noun)):
        return _predicate_of(phrase, auxiliary, rest)
    if auxiliary.lower() in BE:
        return _copula_or_passive(asked, auxiliary, rest, phrase)
    return _object_question(auxiliary, rest, phrase)


def _begins_predicate(auxiliary: str, rest: Words, has_noun: bool) -> bool:
    """Tell whether the words after an auxiliary are its predicate, so that who/what is the subject."""
    words = [
        w for w in rest if not _is_adverb(w.lower()) and w.lower() not in ("most", "best")
    ] or rest
    first, second = words[0].lower(), (words[1].lower() if len(words) > 1 else "")
    if _is_name(words[0]):
        return False
    if auxiliary in DO | {"don't", "doesn't", "didn't"}:
        return False
    if auxiliary in MODALS:
        return _form(first, "modal") and first not in PERSONAL and not _ends_noun_phrase(words, 0)
    if auxiliary in HAVE:
        return first == "been" or bool(_lemma(first, "VBN"))
    if auxiliary not in BE:
        return False
    if has_noun and len(rest) == 1:
        return True
    if first in PREPOSITIONS | {"not", "being"}:
        return True
    participle = bool(_lemma(first, "VBN") or _lemma(first, "VBG"))
    if participle:
        return has_noun or second in CLOSED | {""} or not _may_be_noun(second) or len(words) < 3
    return first in ("able", "responsible") or (
        _is_adjective(first) and second in PREPOSITIONS | {""}
    )


def _ends_noun_phrase(words: Words, at: int) -> bool:
    """Tell whether another base verb follows the word before anything that could be an object."""
    return any(
        _lemma(w.lower(), "VB") and "NOUN" not in _readings(w.lower())
        for w in words[at + 1 : at + 3]
    )


def _predicate_of(subject: str, auxiliary: str, rest: Words) -> Clause | None:
    if _is_clause(subject):
        return None
    auxiliary = auxiliary.lower()
    if _is_plural(subject):
        auxiliary = {"is": "are", "was": "were", "has": "have"}.get(auxiliary, auxiliary)
    return Clause("", subject, auxiliary, None, "", rest[0], " ".join(rest[1:]))


def _copula_or_passive(asked: Asked, auxiliary: str, rest: Words, phrase: str) -> Clause | None:
    if rest[0].lower() == "there":
        return Clause("", "there", auxiliary, None, "", "", " ".join([phrase, *rest[1:]]))
    at = _main_verb(rest, "passive")
    last = rest[-1].lower()
    if {w.lower() for w in rest} & RELATIVES:
        if last in STRANDED and _lemma(rest[-2].lower(), "VBN"):
            return None
        at, last = None, ""
    elif {w.lower() for w in rest} & BE:
        return None
    if at is not None:
        word = rest[at].lower().rstrip(",")
        gap = 0 if rest[at].endswith(",") else _gap(word, rest[at + 1 :])
        verb = _lemma(word, "VBN") or _lemma(word, "VBG") or ""
        unfinished = rest[-2:-1] == ["to"] and bool(_lemma(last, "VB"))
        stranded = unfinished or last in STRANDED or _double_preposition(rest) or verb in EXPECTING
        gap = len(rest) - at - 1 if unfinished else gap
        active = word.endswith("ing")
        if gap is not None and (stranded or active or verb in DITRANSITIVE):
            return _insert(rest, at, auxiliary, phrase, gap)
        if asked.noun or active:
            return None
    if last in STRANDED:
        return _stranded_copula(auxiliary, rest, phrase)
    if asked.word == "how" or (asked.noun and len(rest) > 6):
        return None
    if asked.noun and asked.noun[0].lower() in SHARES:
        return Clause("", phrase, auxiliary, None, "", "", " ".join(rest))
    if (
        rest[0].lower() in DETERMINERS | PRONOUNS | {"something", "someone"}
        or _is_name(rest[0])
        or asked.noun
    ):
        subject = " ".join(rest)
        if rest[0].lower() in PERSONAL and len(rest) > 1:
            subject, phrase = rest[0], " ".join([phrase, *rest[1:]])
        return Clause("", subject, auxiliary, None, "", "", phrase)
    if _is_clause(phrase):
        return None
    plural = {"is": "are", "was": "were"} if _is_plural(phrase) else {}
    auxiliary = plural.get(auxiliary.lower(), auxiliary.lower())
    if auxiliary in ("are", "were") and not asked.noun:
        return Clause("", " ".join(rest), auxiliary, None, "", "", phrase)
    return Clause("", phrase, auxiliary, None, "", "", " ".join(rest))


_ADJECTIVE_ENDING = re.compile(r"(ible|able|ful|ous|ive|ic|ent|ant|less|ed)$")


def _stranded_copula(auxiliary: str, rest: Words, phrase: str) -> Clause | None:
    """ "What region were the winners from?": the preposition begins the predicate."""
    if len(rest) < 2 or rest[-2].lower() in CLOSED:
        return None
    word = rest[-2].lower()
    if _is_adjective(word) or ("ADJ" in _readings(word) and _ADJECTIVE_ENDING.search(word)):
        if len(rest) < 3 or rest[-3].lower() in CLOSED:
            return None
        return Clause(
            "", " ".join(rest[:-2]), auxiliary, None, "", rest[-2], f"{rest[-1]} {phrase}"
        )
    return Clause("", " ".join(rest[:-1]), auxiliary, None, "", "", f"{rest[-1]} {phrase}")


def _object_question(auxiliary: str, rest: Words, phrase: str) -> Clause | None:
    kind = _kind(auxiliary)
    at = _main_verb(rest, kind)
    if at is None:
        return None
    if rest[at].lower() == "do":
        return None
    if rest[-1].lower() == "do" and rest[-2].lower() == "to":
        return _do_something(auxiliary, rest, at, phrase)
    gap = _gap(rest[at].lower(), rest[at + 1 :])
    return None if gap is None else _insert(rest, at, auxiliary, phrase, gap)


def _do_something(auxiliary: str, rest: Words, at: int, phrase: str) -> Clause | None:
    """ "What did he try to do?": the answer is the verb phrase in the place of "do"."""
    phrase = phrase.removeprefix("to ")
    if not _lemma(phrase.split()[0].lower(), "VB"):
        return None
    return _insert(rest[:-1], at, auxiliary, phrase, len(rest) - at - 2)


def _kind(auxiliary: str) -> str:
    word = auxiliary.lower()
    if word in BE or word in ("isn't", "aren't", "wasn't", "weren't"):
        return "passive"
    return "perfect" if word in HAVE or word in ("hasn't", "haven't", "hadn't") else "modal"


def _insert(rest: Words, at: int, auxiliary: str, phrase: str, gap: int) -> Clause | None:
    """Build the clause of an inverted question, with a phrase `gap` words behind its verb."""
    after = rest[at + 1 :]
    governor = after[gap - 1].lower() if gap else ""
    if governor in PREPOSITIONS and phrase.split()[0].lower() in PREPOSITIONS - {
        "about",
        "over",
        "up",
        "around",
    }:
        if governor != phrase.split()[0].lower():
            return None
        phrase = phrase.split(" ", 1)[-1]
    start = at
    while start > 1 and _is_adverb(rest[start - 1].lower()):
        start -= 1
    auxiliary, verb, finite = auxiliary.lower(), rest[at].rstrip(","), None
    if _two_phrases(rest[:start]):
        return None
    if auxiliary in DO and "not" not in rest[start:at]:
        tag = {"did": "VBD", "does": "VBZ", "do": "VBP"}[auxiliary]
        finite = _inflect(verb.lower(), tag)
        if finite is None:
            return None
    return Clause(
        "",
        " ".join(rest[:start]),
        auxiliary,
        finite,
        " ".join(rest[start:at]),
        verb,
        " ".join([*after[:gap], phrase, *after[gap:]]),
    )


def _two_phrases(words: Words) -> bool:
    """Tell whether an article inside words begins a second noun phrase, as in "Anna the queen of"."""
    lower = [w.lower() for w in words]
    return any(
        word in ("a", "an", "the")
        and not (before in CLOSED or before.endswith(",") or _is_verb(before))
        for before, word in pairwise(lower)
    )


def _is_verb(word: str) -> bool:
    return any(_lemma(word, tag) for tag in ("VBN", "VBG", "VB"))


def _form(word: str, kind: str) -> bool:
    if kind == "modal":
        return word in ("be", "have", "do") or bool(_lemma(word, "VB"))
    if kind == "perfect":
        return word in ("been", "had", "done") or bool(_lemma(word, "VBN"))
    return word == "being" or bool(_lemma(word, "VBN") or _lemma(word, "VBG"))


def _main_verb(rest: Words, kind: str) -> int | None:
    """Return the index of the verb that ends the subject, or None where more than one could be it."""
    lower = [w.lower().rstrip(",") for w in rest]
    candidates: list[int] = []
    for at in range(1, len(rest)):
        before = lower[at - 1]
        back = at - 1
        while back > 0 and _is_adverb(lower[back]):
            back -= 1
        if lower[at] in RELATIVES | SUBORDINATORS:
            break
        if kind == "modal" and lower[at] == "be" and before != "to" and not candidates:
            return at
        if lower[at] in ("until", "before", "after", "since", "being") and candidates:
            break
        if lower[at] in AUXILIARIES - {"can", "will", "may", "might"} and candidates:
            break
        if (
            _is_name(rest[at])
            or not _form(lower[at], kind)
            or (rest[at - 1].endswith(",") and at < len(rest) - 1)
        ):
            continue
        if lower[back] in DETERMINERS | PREPOSITIONS | CONJUNCTIONS | RELATIVES or before == "to":
            continue
        if _is_adjective(lower[back]) and (kind != "passive" or lower[at].endswith("ing")):
            continue
        if lower[0] in PERSONAL and not candidates:
            return at
        nominal = "NOUN" in _readings(lower[at])
        if nominal and lower[at + 1 : at + 2] == ["of"]:
            continue
        if nominal and kind == "passive" and at > 1 and lower[at - 2] in ("a", "an"):
            continue
        candidates.append(at)
    return _choose(rest, candidates, kind)


def _choose(rest: Words, candidates: list[int], kind: str) -> int | None:
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    lower = [w.lower() for w in rest]

    def sure(at: int) -> bool:
        readings = _readings(lower[at])
        return not {"NOUN", "ADJ"} & set(readings) if kind != "modal" else "NOUN" not in readings

    def ends(at: int) -> bool:
        following = lower[at + 1] if at + 1 < len(rest) else ""
        return following in CLOSED | {""} or (at + 1 < len(rest) and _is_name(rest[at + 1]))

    chained = next((at for at in candidates if _lemma(lower[at], "VBN") in EXPECTING), None)
    if kind == "passive" and chained is not None and lower[chained + 1 : chained + 2] == ["to"]:
        return chained
    common = next((at for at in candidates if lower[at] in COMMON_VERBS), None)
    if common is not None and ends(common) | (common + 1 in candidates):
        return common
    for test in (lambda at: sure(at) and ends(at), sure, ends):
        passing = [at for at in candidates if test(at)]
        if len(passing) == 1:
            return passing[0]
    adjacent = candidates[1] - candidates[0] == 1 and _is_name(rest[candidates[0] - 1])
    return candidates[0] if adjacent and len(candidates) == 2 else None


def _gap(verb: str, after: Words) -> int | None:
    """Return where in the words after a verb its missing object belongs, or None if that is unclear."""
    lower = [w.lower().rstrip(",") for w in after]
    if not lower or lower[-1] in STRANDED:
        return len(lower)
    for at in range(len(lower) - 1):
        pair = f"{lower[at]}|{lower[at + 1]}"
        ends = lower[at + 1] in PREPOSITIONS | SUBORDINATORS | {"that"}
        if lower[at] in STRANDED and ends and pair not in COMPOUND:
            return at + 1
        if lower[at] == "to" and lower[at + 1] in ("be", "have"):
            return at + (3 if lower[at + 2 : at + 3] == ["been"] else 2)
        verb_at = at + 2 if _is_adverb(lower[at + 1]) and at + 2 < len(lower) else at + 1
        if lower[at] == "to" and _lemma(lower[verb_at], "VB"):
            if at == 0 and not any(_lemma(verb, t) in CHAINED for t in ("VB", "VBN", "VBG")):
                return 0
            inner = _gap(lower[verb_at], after[verb_at + 1 :])
            return None if inner is None else verb_at + 1 + inner
    if _begins_adverbial(lower):
        return 0
    lemma = _lemma(verb, "VB") or _lemma(verb, "VBN") or verb
    if lemma in DITRANSITIVE:
        return next((i for i, w in enumerate(lower) if w in PREPOSITIONS - {"of"}), len(lower))
    return None


def _double_preposition(words: Words) -> bool:
    """Tell whether a preposition stands before another one, without an object of its own."""
    lower = [w.lower() for w in words]
    return any(
        one in STRANDED and other in PREPOSITIONS and f"{one}|{other}" not in COMPOUND
        for one, other in pairwise(lower)
    )


def _begins_adverbial(lower: Words) -> bool:
    """Tell whether words after a verb begin with something other than its object."""
    first, second = lower[0], lower[1] if len(lower) > 1 else ""
    if first in PREPOSITIONS | SUBORDINATORS | AUXILIARIES or _is_adverb(first):
        return True
    times = PERIODS | {"night", "morning", "weekend", "century"} | {w.lower() for w in WEEKDAYS}
    return first in ("yesterday", "today", "tomorrow", "here", "there") or (
        first in ("last", "this", "each", "every", "that", "the", "next") and second in times
    )


# --- when, where, why, how -------------------------------------------------------------------------


def _period(asked: Asked, answer: str) -> Clause | None:
    """ "What year was it founded?"."""
    auxiliary, rest = asked.rest[0], asked.rest[1:]
    if asked.noun[-1].lower() == "age":
        adverbial: str | None = f"at the age of {answer}" if _is_number(answer) else None
    else:
        adverbial = _time_phrase(answer)
    if auxiliary.lower() in BE and _main_verb(rest, "passive") is None:
        if rest[0].lower() == "it" or _two_phrases(rest):
            return None
        return Clause("", " ".join(rest), auxiliary, None, "", "", adverbial) if adverbial else None
    return _append(auxiliary, rest, adverbial)


def _time_phrase(answer: str) -> str | None:
    """Return an answer to "when" with the preposition that it needs, or None if unclear."""
    first = answer.split()[0].lower()
    if first in PREPOSITIONS | SUBORDINATORS or re.search(
        r"\b(ago|later|earlier|yesterday|today)\b", answer
    ):
        return answer
    if re.match(r"(early|late|mid)\b", answer, re.I):
        return f"in {answer}"
    if re.fullmatch(r"(the )?\d{3,4}s", answer):
        return f"in the {answer.removeprefix('the ')}"
    if re.fullmatch(r"\d{3,4}( ?(AD|BC|CE|BCE))?|AD \d+|\d{4}[-–]\d{2,4}", answer):
        return f"in {answer}"
    if re.match(rf"({'|'.join(MONTHS)})(,? (of )?\d{{4}})?$", answer, re.I):
        return f"in {answer}"
    if re.fullmatch(
        rf"({DAY},? )?({_MONTH} \d{{1,2}}(st|nd|rd|th)?|\d{{1,2}}(st|nd|rd|th)?( of)? {_MONTH})"
        r"(,? \d{4})?",
        answer,
        re.I,
    ):
        return f"on {answer}"
    if re.match(rf"({'|'.join(WEEKDAYS)})s?\b", answer, re.I):
        return f"on {answer}"
    if re.match(r"(noon|midnight|\d{1,2}([:.]\d\d)? ?(a\.?m|p\.?m))", answer, re.I):
        return f"at {answer}"
    if re.search(r"\b(century|decade|summer|winter|spring|autumn)\b|\d0s\b", answer, re.I):
        return f"in {answer}" if first == "the" else f"in the {answer}"
    if not answer.startswith("post") and re.search(
        r"\b(War|Ages?|Era|Revolution|dynasty|reign|period)\b", answer
    ):
        return f"during {answer}"
    return None


def _when(asked: Asked, answer: str) -> Clause | None:
    return _adverbial_question(asked, _time_phrase(answer))


def _where(asked: Asked, answer: str) -> Clause | None:
    last = asked.rest[-1].lower()
    if last in STRANDED:
        return _adverbial_question(asked, answer)
    first = answer.split()[0].lower()
    if first in PREPOSITIONS or first in ("here", "home", "abroad", "online"):
        return _adverbial_question(asked, answer)
    if not (_is_name(answer) or first in DETERMINERS) or _is_clause(answer):
        return None
    at = _main_verb(asked.rest[1:], _kind(asked.rest[0]))
    verb = asked.rest[1:][at].lower() if at is not None else ""
    lemma = _lemma(verb, "VB") or _lemma(verb, "VBN") or _lemma(verb, "VBG") or verb
    static = "at" if set(answer.lower().split()) & PLACES_AT else "in"
    preposition = "to" if lemma in MOTION else static
    return _adverbial_question(asked, f"{preposition} {answer}")


def _why(asked: Asked, answer: str) -> Clause | None:
    words = answer.split()
    first = words[0].lower()
    if first in ("because", "to", "due", "for", "so", "as", "since", "by", "in", "out"):
        return _adverbial_question(asked, answer)
    if first in PERSONAL or _is_clause(answer):
        return _adverbial_question(asked, f"because {_decapitalise(answer)}")
    if any(w.lower() in AUXILIARIES or _past_only(w.lower()) for w in words[1:]):
        return _adverbial_question(asked, f"because {_decapitalise(answer)}")
    if first in DETERMINERS or _readings(first).get("NOUN"):
        return _adverbial_question(asked, f"because of {answer}")
    return None


def _past_only(word: str) -> bool:
    return bool(_lemma(word, "VBD")) and not {"NOUN", "ADJ"} & set(_readings(word))


def _how(asked: Asked, answer: str) -> Clause | None:
    auxiliary, rest = asked.rest[0], asked.rest[1:]
    kind = asked.noun[0].lower() if asked.noun else ""
    if kind in ("many", "much"):
        return _how_many(asked, answer)
    if len(asked.noun) > 1:
        return None
    if (
        kind in MEASURES | BARE_MEASURES
        and auxiliary.lower() in BE
        and (_main_verb(rest, "passive") is None)
    ):
        return _measure(kind, auxiliary, rest, answer)
    at = _main_verb(rest, "modal")
    if kind == "long" and at is not None and rest[at].lower() == "take":
        after = [w.lower() for w in rest[at + 1 :]]
        gap = after.index("to") if "to" in after else 0 if not after else len(after)
        return _insert(rest, at, auxiliary, answer, gap)
    if kind == "long":
        bare = answer.split()[0].lower() in PREPOSITIONS
        return _append(auxiliary, rest, answer if bare else f"for {answer}")
    if kind == "often":
        return _append(auxiliary, rest, answer)
    if kind:
        return None
    first = answer.split()[0].lower()
    if first in ("by", "with", "through", "via", "using", "from", "on", "in", "as") or (
        _is_adverb(first) and first not in ADVERBS
    ):
        return _append(auxiliary, rest, answer)
    if _lemma(first, "VBG") and len(answer.split()) > 1:
        return _append(auxiliary, rest, f"by {answer}")
    return None


def _how_many(asked: Asked, answer: str) -> Clause | None:
    auxiliary, rest = asked.rest[0], asked.rest[1:]
    things = asked.noun[1:]
    if things and things[-1].lower() in MEASURES and auxiliary.lower() in BE:
        amount = _quantity([asked.noun[0], *things[:-1]], answer)
        return _measure(things[-1].lower(), auxiliary, rest, amount) if amount else None
    if things and things[-1].lower() == "times":
        amount = _quantity(asked.noun, answer)
        return _append(auxiliary, rest, amount)
    return _what(asked, answer)


def _measure(kind: str, auxiliary: str, rest: Words, answer: str) -> Clause | None:
    """ "How long is the bridge?"."""
    cut = next((i for i, w in enumerate(rest) if w.lower() in SUBORDINATORS and i), len(rest))
    unit = kind in MEASURES and kind not in answer.lower() and not re.fullmatch(r"[\d.,]+", answer)
    if {w.lower() for w in rest[:cut]} & {"in", "now"}:
        return None
    if not re.search(r"\d", answer) and not re.match(rf"(.+ )?({_NUMBER_WORD})\b", answer, re.I):
        unit = False
    subject = " ".join(rest[:cut])
    return Clause(
        "",
        subject,
        auxiliary,
        None,
        "",
        "",
        " ".join([answer, *([kind] if unit else []), *rest[cut:]]),
    )


def _adverbial_question(asked: Asked, adverbial: str | None) -> Clause | None:
    return None if asked.noun else _append(asked.rest[0], asked.rest[1:], adverbial)


def _append(auxiliary: str, rest: Words, adverbial: str | None) -> Clause | None:
    """Build the clause of an inverted question with an adverbial at its end."""
    if adverbial is None:
        return None
    at = _main_verb(rest, _kind(auxiliary))
    if at is not None:
        after = [w.lower() for w in rest[at + 1 :]]
        clauses = SUBORDINATORS | {"until", "before", "after", "since"}
        gap = next((i for i, w in enumerate(after) if w in clauses), len(after))
        return _insert(rest, at, auxiliary, adverbial, gap)
    if auxiliary.lower() not in BE:
        return None
    lower = [w.lower() for w in rest]
    if lower[0] in PERSONAL:
        return Clause("", rest[0], auxiliary, None, "", "", " ".join([*rest[1:], adverbial]))
    if any(w in SUBORDINATORS | RELATIVES for w in lower) or _is_adjective(lower[-1]):
        return None
    stranded = [rest[-1]] if lower[-1] in STRANDED else []
    subject = rest[: len(rest) - len(stranded)]
    if _two_phrases(subject):
        return None
    return Clause("", " ".join(subject), auxiliary, None, "", "", " ".join([*stranded, adverbial]))


# --- the question word comes later -----------------------------------------------------------------


def _asked_after_preposition(words: Words, answer: str) -> Clause | None:
    """ "In what year was it founded?", "To whom did he give it?"."""
    preposition = words[0].lower()
    if preposition not in PREPOSITIONS or words[1].lower() not in WH - {"when", "where", "why"}:
        return None
    asked = _split_phrase(words[1:])
    if asked is None or len(asked.rest) < 2 or asked.rest[0].lower() not in AUXILIARIES:
        return None
    if asked.noun and asked.noun[-1].lower() in UNCLEAR | {"what"}:
        return None
    adverbial = _prepositional(preposition, asked, answer)
    return _append(asked.rest[0], asked.rest[1:], adverbial)


def _prepositional(preposition: str, asked: Asked, answer: str) -> str | None:
    noun = asked.noun[-1].lower() if asked.noun else ""
    first = answer.split()[0].lower()
    if first in SUBORDINATORS or _double_preposition(asked.rest):
        return None
    if first in PREPOSITIONS:
        return answer
    if noun == "age":
        return f"at the age of {answer}" if _is_number(answer) else None
    if noun in PERIODS and preposition in ("in", "on", "during", "at"):
        return _time_phrase(answer)
    phrase = _noun_answer(asked, answer) if asked.word != "how" or asked.noun else None
    if asked.word == "how" and asked.noun[:1] == ["long"]:
        phrase = answer
    return f"{preposition} {phrase}" if phrase else None


def _asked_in_place(words: Words, answer: str) -> Clause | None:
    """ "The boroughs are named what?": the question word is where its answer belongs."""
    lower = [w.lower() for w in words]
    places = [at for at, w in enumerate(lower) if w in WH]
    if lower[0] in WH or not places or lower[0] in PREPOSITIONS:
        return None
    at = places[-1]
    before, after = words[:at], words[at + 1 :]
    if {w.lower() for w in before} & (DO | NEGATED | {"not"}):
        return None
    if len(places) > 1 or len(after) > 3 or {w.lower() for w in after} & PREPOSITIONS:
        return None
    if lower[at] not in ("what", "who", "whom", "which", "when", "where"):
        return None
    if after and after[0].lower() in AUXILIARIES:
        return None
    verb = next((i for i, w in enumerate(before[1:], 1) if w.lower() in AUXILIARIES - DO), None)
    phrase: str | None = answer
    if lower[at] in ("when", "where") or (after and after[-1].lower() in PERIODS):
        if before[-1].lower() not in PREPOSITIONS:
            phrase = _time_phrase(answer) if lower[at] == "when" else f"in {answer}"
        elif answer.split()[0].lower() in PREPOSITIONS:
            phrase = None
    if phrase and after and _is_adjective(answer.lower()):
        phrase = f"{phrase} {after[-1]}"
    if phrase is None or _is_clause(answer) or _is_verb_phrase(answer):
        return None
    if verb is not None:
        rest = " ".join([*before[verb + 1 :], phrase])
        return Clause("", " ".join(before[:verb]), before[verb], None, "", "", rest)
    verb = _finite_verb(before, 1, needs_noun=False)
    if verb is None:
        return None
    return _finite_clause(
        " ".join(before[:verb]), before[verb].lower(), [*before[verb + 1 :], phrase], ""
    )


# --- false variants --------------------------------------------------------------------------------

Change = Callable[[str, random.Random, Sequence[str]], str | None]

ANTONYMS = [
    pair.split("/")
    for pair in (
        "rise/fall rises/falls rose/fell risen/fallen rising/falling won/lost win/lose "
        "winning/losing winner/loser before/after more/less more/fewer first/last increase/decrease "
        "increased/decreased increases/decreases increasing/decreasing higher/lower highest/lowest "
        "larger/smaller largest/smallest bigger/smaller biggest/smallest longer/shorter longest/shortest "
        "older/younger oldest/youngest earlier/later early/late opened/closed opens/closes open/closed "
        "gained/lost gain/loss accepted/rejected accepts/rejects approved/rejected allowed/banned "
        "allow/ban legal/illegal bought/sold buys/sells buy/sell best/worst better/worse north/south "
        "northern/southern east/west eastern/western above/below over/under inside/outside "
        "success/failure succeeded/failed successful/unsuccessful victory/defeat guilty/innocent "
        "convicted/acquitted supported/opposed supports/opposes support/oppose for/against "
        "arrived/left arrival/departure started/ended began/ended begin/end start/end "
        "strengthened/weakened improved/worsened expanded/shrank raised/lowered male/female men/women "
        "man/woman boys/girls husband/wife mother/father son/daughter brother/sister import/export "
        "imports/exports employer/employee minimum/maximum majority/minority possible/impossible "
        "always/never dead/alive killed/saved public/private urban/rural hot/cold warm/cold "
        "warmer/colder wet/dry day/night morning/evening upper/lower ancient/modern profit/loss "
        "profits/losses confirmed/denied confirms/denies agreed/refused praised/criticised "
        "praised/criticized hired/fired elected/defeated included/excluded remembered/forgot "
        "young/old rich/poor left/right near/far common/rare strong/weak heavy/light "
        "same/different increase/reduce with/without voluntary/compulsory temporary/permanent"
    ).split()
]
OPPOSITES: dict[str, list[str]] = {}
for _one, _other in ANTONYMS:
    OPPOSITES.setdefault(_one, []).append(_other)
    OPPOSITES.setdefault(_other, []).append(_one)
WEAK_OPPOSITES = _set("for over under with right left open light far old day public")
"""Words of several senses, which are replaced only where nothing else can be changed."""

DIRECTED = (
    "beat defeated bought acquired sued replaced succeeded hired accused killed criticised criticized "
    "founded overtook invaded attacked arrested appointed endorsed thrashed outscored dismissed blamed "
    "murdered employed taught coached trained advised told warned praised sacked fired shot"
).split()
"""Verbs whose subject and object cannot change places without a change of sense."""

ORGANISATION = re.compile(
    r"\b(Inc|Corp|Ltd|PLC|Group|Company|Bank|University|College|Ministry|Party|Institute|Club|"
    r"Department|Agency|Council|Committee|Association|Court|FC|Airlines|Motors|School|Church|Museum|"
    r"Commission|Foundation|League)\b|\bUnited$"
)
PLACE_BEFORE = re.compile(
    r"\b(in|near|across|outside|throughout|at|towards?|into)\s+(the\s+)?$", re.I
)
PERSON_BEFORE = re.compile(
    r"\b(Mr|Mrs|Ms|Dr|Sir|President|Minister|King|Queen|Professor|Judge|Captain|coach|actor|singer|"
    r"author|chancellor|spokesman|spokeswoman|director|mayor|senator|by|named|called)\.?\s+$",
    re.I,
)
_CAPITAL = r"(?:[A-Z](?:['’](?=[A-Z])|[\w.&-])*[\w&]|[A-Z])"
NAME = re.compile(rf"{_CAPITAL}(?:\s+(?:(?:of|de|van|von|the|der|la|bin|al)\s+)?{_CAPITAL})*")
STATES = _set("US UK EU UN UAE")
DEMONYM = re.compile(r"(?:[aei]an|ish|ese|French|Dutch|Greek|German|Swiss|Roman)$")
CALENDAR = frozenset([*MONTHS, *WEEKDAYS])
TITLES = _set(
    "Mr Mrs Ms Dr Sir President Minister King Queen Professor Judge Captain Prime Lord Lady I"
)


def corrupt(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Change one fact of a sentence, so that the sentence contradicts what it said.

    Args:
        sentence: A declarative sentence.
        rng: Draws the kind of change and its value; the same state gives the same change.
        others: Names that may replace one of the sentence's, from the same passage or another one.

    Returns:
        The sentence with another figure, date, name, attribution, or polarity; None where nothing in it
        can be changed.
    """
    changes: list[Change] = [
        _change_figure, _change_date, _change_name, _change_name, _swap_names, _change_opposite,
        _change_polarity,
    ]  # fmt: skip
    rng.shuffle(changes)
    for change in [*changes, _change_weak_opposite]:
        changed = change(sentence, rng, others)
        if changed and changed.lower() != sentence.lower():
            return changed
    return None


FIGURE = re.compile(
    r"(?<![\w.,:/-])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d:/-])|(?<![\w.,:/-])\d+(?:\.\d+)?(?![\d:/\w'’-])"
)
_NUMBER_WORDS = re.compile(
    rf"\b({'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})\b(?!-)", re.I
)
_MONTH_AFTER = re.compile(rf"(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}", re.I)


def _change_figure(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Replace a figure by a plausible other one of the same form."""
    spots = [m for m in FIGURE.finditer(sentence) if not _is_day_of_month(sentence, m)]
    spots += list(_NUMBER_WORDS.finditer(sentence))
    if not spots:
        return None
    spot = rng.choice(spots)
    return _put(sentence, spot, _other_figure(spot.group(), sentence[spot.end() :], rng))


def _is_day_of_month(sentence: str, spot: re.Match[str]) -> bool:
    """Return whether a figure is the day in "29 March" or "March 29", not the year in "March 2021"."""
    if len(spot.group()) > 2:
        return False
    before, after = sentence[: spot.start()], sentence[spot.end() :]
    return bool(re.search(rf"{_MONTH}\s+$", before) or _MONTH_AFTER.match(after))


def _put(sentence: str, spot: re.Match[str], text: str) -> str:
    """Replace a match, keeping a capital at the sentence's start."""
    text = _capitalise(text) if spot.start() == 0 else text
    return sentence[: spot.start()] + text + sentence[spot.end() :]


def _other_figure(figure: str, following: str, rng: random.Random) -> str:
    if figure.lower() in NUMBER_WORDS:
        number = NUMBER_WORDS[figure.lower()]
        near = [n for n in range(max(2, number - 4), min(99, number + 4) + 1) if n != number]
        return _spell(rng.choice(near))
    plain = figure.replace(",", "")
    decimals = len(plain.partition(".")[2])
    value = float(plain)
    if len(plain) == 4 and decimals == 0 and "," not in figure and 1000 <= value <= 2100:
        return str(int(value) + rng.choice([-1, 1]) * rng.choice([1, 2, 3, 4, 5, 7, 10, 12, 20]))
    percent = bool(re.match(r"\s?(%|per ?cent)", following))
    for _ in range(20):
        factor = rng.choice([0.3, 0.5, 0.6, 0.7, 0.8, 1.2, 1.3, 1.5, 1.8, 2, 3])
        other = value * factor if value > 4 else value + rng.choice([1, 2, 3])
        zeros = len(plain) - len(plain.rstrip("0")) if decimals == 0 else 0
        rounded = round(other, decimals if decimals else -min(zeros, len(plain) - 1))
        if rounded != value and rounded > 0 and not (percent and rounded > 100 >= value):
            return f"{rounded:{',' if ',' in figure else ''}.{decimals}f}"
    return str(int(value) + 1)


def _change_date(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Replace a month, a day of the month, or a day of the week."""
    names = list(re.finditer(rf"\b(?:{_MONTH}|{DAY})\b", sentence))
    days = list(re.finditer(rf"\b\d{{1,2}}(?=\s+{_MONTH})", sentence))
    days += [
        m for m in re.finditer(r"\b\d{1,2}\b(?!:)", sentence)
        if re.search(rf"{_MONTH}\s$", sentence[: m.start()])
    ]  # fmt: skip
    spots = [
        m for m in names if not (m.group() in ("May", "March") and not _is_month(sentence, m))
    ] + days
    if not spots:
        return None
    spot = rng.choice(spots)
    if spot.group().isdigit():
        other = rng.choice([d for d in range(1, 29) if d != int(spot.group())])
        return _put(sentence, spot, str(other))
    calendar = MONTHS if spot.group() in MONTHS else WEEKDAYS
    return _put(sentence, spot, rng.choice([w for w in calendar if w != spot.group()]))


def _is_month(sentence: str, spot: re.Match[str]) -> bool:
    before, after = sentence[: spot.start()], sentence[spot.end() :]
    return bool(
        re.search(r"(\d|\b(in|of|since|until|by|last|late|early))\s$", before)
        or re.match(r"\s\d", after)
    )


def names(text: str) -> list[str]:
    """Return the different names in a text, in the order in which they appear.

    Args:
        text: Any English text; its sentences end in ".", "!" or "?" before a blank.

    Returns:
        Runs of capitalised words, without dates, titles that stand alone, and words that are
        capitalised only because they begin a sentence; what `corrupt` takes as `others`.
    """
    sentences = re.split(r"(?<=[.!?])\s+", text)
    return list(dict.fromkeys(m.group() for sentence in sentences for m in _names(sentence)))


def _names(sentence: str) -> list[re.Match[str]]:
    """Return the names in a sentence: runs of capitalised words that are no date and no title."""
    found: list[re.Match[str]] = []
    position = 0
    while match := NAME.search(sentence, position):
        words = match.group().split()
        first = words[0].lower().partition("-")[0]
        opens = match.start() == 0 and (first in CLOSED or _is_adverb(first))
        if len(words) > 1 and (opens or words[0] in CALENDAR):
            position = match.start() + len(words[0])
            continue
        position = match.end()
        common = match.start() == 0 and len(words) == 1 and (first in CLOSED or _readings(first))
        dated = bool(CALENDAR & set(words)) or set(words) <= TITLES
        if not (common or dated or first in CLOSED | {"according"} or len(match.group()) < 2):
            found.append(match)
    return found


def _is_organisation(name: str) -> bool:
    acronym = name.isupper() and len(name) > 1 and name.replace(".", "") not in STATES
    return acronym or bool(ORGANISATION.search(name))


def _name_kind(name: str, before: str) -> str:
    if _is_organisation(name):
        return "organisation"
    if PERSON_BEFORE.search(before):
        return "person"
    if PLACE_BEFORE.search(before):
        return "place"
    return "person" if re.fullmatch(r"[A-Z][a-z]+(?: [A-Z]\.?)? [A-Z][\w'-]+", name) else "name"


def _change_name(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Replace a name by another of the same kind."""
    spots = _names(sentence)
    if not spots:
        return None
    spot = rng.choice(spots)
    name = spot.group()
    kind = _name_kind(name, sentence[: spot.start()])
    if name in STATES:
        return _put(sentence, spot, rng.choice(sorted(STATES - {name})))
    known = set(re.findall(r"\w+", sentence.lower()))
    strangers = [
        o
        for o in others
        if o[:1].isupper() and not known & set(o.lower().split()) and not CALENDAR & set(o.split())
    ]
    alike = [o for o in strangers if _may_be(o, kind, name)]
    return _put(sentence, spot, rng.choice(alike)) if alike else None


def _may_be(other: str, kind: str, name: str) -> bool:
    """Tell whether a name may stand in the place of another of the given kind."""
    organisation = _is_organisation(other)
    if bool(DEMONYM.search(other)) != bool(DEMONYM.search(name)):
        return False
    if kind == "organisation" or organisation:
        return kind == "organisation" and organisation
    person = _name_kind(other, "") == "person"
    if kind == "person" and len(name.split()) > 1:
        return person
    return len(other.split()) == len(name.split())


def _swap_names(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Exchange the subject and the object of a verb such as "beat"."""
    for one, other in pairwise(_names(sentence)):
        between = sentence[one.end() : other.start()]
        if re.fullmatch(
            rf"\s(?:(?:has|have|had|was|were)\s)?({'|'.join(DIRECTED)})(?:\sby)?\s(?:the\s)?",
            between,
        ):
            return (
                sentence[: one.start()]
                + other.group()
                + between
                + one.group()
                + sentence[other.end() :]
            )
    return None


def _change_opposite(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    return _opposite(sentence, rng, frozenset(OPPOSITES) - WEAK_OPPOSITES)


def _change_weak_opposite(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    return _opposite(sentence, rng, WEAK_OPPOSITES & frozenset(OPPOSITES))


def _opposite(sentence: str, rng: random.Random, from_words: frozenset[str]) -> str | None:
    """Replace a word by its opposite."""
    spots = [m for m in re.finditer(r"\b[a-z]+\b(?!-)", sentence) if m.group() in from_words]
    if not spots:
        return None
    spot = rng.choice(spots)
    return _put(sentence, spot, rng.choice(OPPOSITES[spot.group()]))


_NEGATED_DO = re.compile(r"\b(do|does|did)(?:n['’]t| not| never) ([a-z]+)\b", re.I)
_NEGATION = re.compile(
    rf"\b({'|'.join((BE | HAVE | MODALS) - {'can'})}|can|ca|wo)(?:n['’]t| not| never)\b(?! only)",
    re.I,
)


def _change_polarity(sentence: str, rng: random.Random, others: Sequence[str]) -> str | None:
    """Remove a negation, or negate the first finite verb."""
    return _affirm(sentence) or _negate_full_verb(sentence) or _negate_auxiliary(sentence, rng)


def _affirm(sentence: str) -> str | None:
    """Remove the first negation."""
    if negation := _NEGATED_DO.search(sentence):
        tag = {"do": "VBP", "does": "VBZ", "did": "VBD"}[negation[1].lower()]
        return _put(sentence, negation, _inflect(negation[2], tag) or negation[2])
    if negation := _NEGATION.search(sentence):
        auxiliary = {"ca": "can", "wo": "will"}.get(negation[1].lower(), negation[1])
        return _put(sentence, negation, auxiliary)
    return None


def _negate_full_verb(sentence: str) -> str | None:
    """Negate a verb in the past tense that stands before any auxiliary."""
    words = sentence.split(" ")
    for at, (before, word) in enumerate(pairwise(words), 1):
        if word in AUXILIARIES:
            return None
        subject = (
            _is_name(before) or "NOUN" in _readings(before.lower()) or before.lower() in PERSONAL
        )
        if subject and _past_only(word):
            return " ".join([*words[:at], "did not", _lemma(word, "VBD") or word, *words[at + 1 :]])
    return None


_NEGATABLE = re.compile(
    r"\b(is|are|was|were|has|have|had|can|could|will|would|should|must)(?=\s+[\w$£€\"“])"
)


def _negate_auxiliary(sentence: str, rng: random.Random) -> str | None:
    """Put "not" or "never" after the first auxiliary."""
    auxiliary = _NEGATABLE.search(sentence)
    if not auxiliary:
        return None
    word = auxiliary.group()
    if word not in HAVE:
        return _put(sentence, auxiliary, f"{word} not")
    following = re.findall(r"\w+", sentence[auxiliary.end() :])[:2]
    if any(_form(w, "perfect") for w in following):
        return _put(sentence, auxiliary, f"{word} {rng.choice(['not', 'not', 'never'])}")
    negated = {"has": "does not have", "have": "do not have", "had": "did not have"}
    return _put(sentence, auxiliary, negated[word])


# --- harmless variants -----------------------------------------------------------------------------

FRAMES = (
    "According to the article, ", "The article says that ", "As reported, ", "It is reported that ",
    "According to the report, ", "The text states that ",
)  # fmt: skip


FRAMED_SHARE, LOWERED_SHARE = 0.2, 0.1
"""Shares of the sentences that get a reporting frame besides another change, and that are lower-cased."""


def soften(sentence: str, rng: random.Random) -> str:
    """Reword a sentence so that it says the same, or less.

    Args:
        sentence: A declarative sentence.
        rng: Draws the changes; the same state gives the same changes.

    Returns:
        The sentence without a trailing clause or parenthesis, with a figure or date written in another
        way, after a reporting frame, or in lower case.
    """
    changes = [_shorten, _without_parenthesis, _respell_number, _respell_date, _respell_percent]
    applicable = [c for c in changes if c(sentence, rng) != sentence]
    chosen = rng.sample(applicable, min(len(applicable), rng.choice([1, 2])))
    for change in sorted(chosen, key=changes.index):
        sentence = change(sentence, rng)
    if not chosen or rng.random() < FRAMED_SHARE:
        sentence = rng.choice(FRAMES) + _decapitalise(sentence)
    return sentence.lower() if rng.random() < LOWERED_SHARE else sentence


def _shorten(sentence: str, rng: random.Random) -> str:
    """Drop a trailing clause that only adds to what the sentence says."""
    found = re.search(
        r",\s(?:which|who|where|while|although|though|as|after|and (?:later|then))\s[^,;]*[.]$",
        sentence,
    )
    if found and len(sentence[: found.start()].split()) >= 5:
        return sentence[: found.start()] + "."
    return sentence


def _without_parenthesis(sentence: str, rng: random.Random) -> str:
    return re.sub(r"\s\([^()]*\)(?=[\s.,;])", "", sentence, count=1)


def _respell_number(sentence: str, rng: random.Random) -> str:
    """Write a number up to 99 in words, or in figures."""
    spelled = _NUMBER_WORDS.search(sentence)
    if spelled and not re.match(
        r"\s(of|another|other|hundred|thousand)\b", sentence[spelled.end() :]
    ):
        return _put(sentence, spelled, str(NUMBER_WORDS[spelled.group().lower()]))
    for figure in re.finditer(r"(?<![\w$£€¥.,:/-])\d{1,2}(?=\s[a-z]{3})", sentence):
        around_date = re.search(rf"{_MONTH}\s$", sentence[: figure.start()])
        percent = re.match(r"\s(per|percent|million|billion|trillion)\b", sentence[figure.end() :])
        name_before = re.search(r"[A-Z]\w*\s$", sentence[: figure.start()])
        if int(figure.group()) > 1 and not (around_date or percent or name_before):
            return _put(sentence, figure, _spell(int(figure.group())))
    return sentence


def _respell_date(sentence: str, rng: random.Random) -> str:
    """Exchange "29 March" and "March 29"."""
    found = re.search(rf"\b(\d{{1,2}}) ({_MONTH})\b(,? \d{{4}}\b)?", sentence)
    if found:
        year = f", {found[3].strip(', ')}" if found[3] else ""
        return _put(sentence, found, f"{found[2]} {found[1]}{year}")
    found = re.search(rf"\b({_MONTH}) (\d{{1,2}})\b(?!,\d)(, \d{{4}}\b)?", sentence)
    if found:
        year = f" {found[3].strip(', ')}" if found[3] else ""
        return _put(sentence, found, f"{found[2]} {found[1]}{year}")
    return sentence


def _respell_percent(sentence: str, rng: random.Random) -> str:
    """Exchange "%" and "per cent"."""
    if re.search(r"\d%", sentence):
        return re.sub(r"(?<=\d)%", rng.choice([" per cent", " percent"]), sentence)
    return re.sub(r"(?<=\d) per ?cent\b", "%", sentence)
