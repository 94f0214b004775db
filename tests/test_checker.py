"""A checker model joining in: real CrossEncoders, the embedded encoder with a head that is set."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rag.catalogue import Job
from rag.checker import Checker
from rag.citations import check
from rag.datatypes import Excerpt, Verdict
from rag.errors import ModelError
from rag.models import MINILM, cross_encoder_folder, encoder_folder

NLI = ("contradiction", "entailment", "neutral")
MINICHECK = ("LABEL_0", "LABEL_1")

TEXT = "The ferry crews of Port Ellery walked out on Monday over a pay offer."
SOURCE = Excerpt("a", "Ferry strike", 0, len(TEXT), TEXT)
HELD = (
    "The crews walked out over a pay offer.",
    "Why did the ferry crews of Port Ellery walk out?",
)
REWORDED = (
    "The ferry crews of Port Ellery downed tools on Monday.",
    "What did the ferry crews do?",
)


def saying(folder: Path, cache: Path, labels: tuple[str, ...], says: int) -> Checker:
    """A checker that always gives the same label, whatever it reads."""
    base = encoder_folder(MINILM.name, cache)
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: place for place, label in enumerate(labels)}
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(
            torch.nn.functional.one_hot(torch.tensor(says), len(labels)) * 9
        )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)
    return Checker("scripted", cross_encoder_folder(str(folder), Job.CHECKER))


@pytest.mark.parametrize(
    ("labels", "says", "verdict"),
    [
        (NLI, 0, Verdict.CONTRADICTED),
        (NLI, 1, Verdict.SUPPORTED),
        (NLI, 2, Verdict.UNSUPPORTED),
        (MINICHECK, 0, Verdict.UNSUPPORTED),
        (MINICHECK, 1, Verdict.SUPPORTED),
    ],
)
def test_what_the_words_let_pass_the_checker_can_turn_down(
    tmp_path: Path, cache: Path, labels: tuple[str, ...], says: int, verdict: Verdict
) -> None:
    checker = saying(tmp_path, cache, labels, says)
    (sentence,) = check(*HELD, [SOURCE], checker.opinion).sentences
    assert sentence.verdict is verdict
    assert ("checker" in sentence.reason) is (verdict is not Verdict.SUPPORTED)


def test_what_only_the_wording_speaks_against_a_sure_checker_lets_pass(
    tmp_path: Path, cache: Path
) -> None:
    assert check(*REWORDED, [SOURCE]).text == ""
    checked = check(*REWORDED, [SOURCE], saying(tmp_path, cache, NLI, 1).opinion)
    assert checked.text == f"{REWORDED[0]} [1]"


@pytest.mark.parametrize(
    "claim",
    ["The ferry crews walked out on 12 May.", "The crews of Port Marlow walked out over pay."],
)
def test_no_checker_lets_a_figure_or_name_pass_that_is_not_there(
    tmp_path: Path, cache: Path, claim: str
) -> None:
    checker = saying(tmp_path, cache, NLI, 1)
    assert check(claim, "When did the crews walk out?", [SOURCE], checker.opinion).text == ""


def test_a_model_with_labels_of_another_kind_is_no_checker(tmp_path: Path, cache: Path) -> None:
    checker = saying(tmp_path, cache, ("joy", "anger", "fear"), 0)
    with pytest.raises(ModelError, match="is no checker: it gives 3 scores"):
        checker.load()


def test_a_folder_that_holds_no_checker_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"The checker .* is neither the folder") as told:
        cross_encoder_folder(str(tmp_path), Job.CHECKER)
    assert "RAG_CHECKER" in str(told.value)
