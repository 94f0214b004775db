"""Verification with an entailment model: a real CrossEncoder whose head always predicts one label."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from rag.answering.verify import Verifier
from rag.errors import ModelError
from rag.models.entailment import EntailmentModel
from rag.models.resolve import MINILM, cross_encoder_folder, encoder_folder
from rag.types import Excerpt, ModelRole, Verdict

NLI = ("contradiction", "entailment", "neutral")
MINICHECK = ("LABEL_0", "LABEL_1")

TEXT = "The ferry crews of Port Ellery walked out on Monday over a pay offer."
SOURCE = Excerpt("a", "Ferry strike", 0, len(TEXT), TEXT)
SUPPORTED_CLAIM = (
    "The crews walked out over a pay offer.",
    "Why did the ferry crews of Port Ellery walk out?",
)
REWORDED_CLAIM = (
    "The ferry crews of Port Ellery downed tools on Monday.",
    "What did the ferry crews do?",
)


def constant_model(
    folder: Path, cache: Path, labels: tuple[str, ...], predicted: int
) -> EntailmentModel:
    """An entailment model that always predicts the same label."""
    base = encoder_folder(MINILM.name, cache)
    config = AutoConfig.from_pretrained(base, local_files_only=True)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    # transformers declares no types for it.
    from_config: Callable[..., Any] = AutoModelForSequenceClassification.from_config
    model = from_config(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(
            torch.nn.functional.one_hot(torch.tensor(predicted), len(labels)) * 9
        )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(folder)
    return EntailmentModel("scripted", cross_encoder_folder(str(folder), ModelRole.CHECKER))


@pytest.mark.parametrize(
    ("labels", "predicted", "verdict"),
    [
        (NLI, 0, Verdict.CONTRADICTED),
        (NLI, 1, Verdict.SUPPORTED),
        (NLI, 2, Verdict.UNSUPPORTED),
        (MINICHECK, 0, Verdict.UNSUPPORTED),
        (MINICHECK, 1, Verdict.SUPPORTED),
    ],
)
def test_the_model_judges_in_the_place_of_the_reader(
    tmp_path: Path, cache: Path, labels: tuple[str, ...], predicted: int, verdict: Verdict
) -> None:
    verifier = Verifier(constant_model(tmp_path, cache, labels, predicted))
    assert verifier.verify(*SUPPORTED_CLAIM, [SOURCE]).verdict is verdict
    assert verifier.verify(*REWORDED_CLAIM, [SOURCE]).verdict is verdict


@pytest.mark.parametrize(
    "claim",
    ["The ferry crews walked out on 12 May.", "The crews of Port Marlow walked out over pay."],
)
def test_no_model_makes_up_for_a_number_or_name_that_the_source_does_not_contain(
    tmp_path: Path, cache: Path, claim: str
) -> None:
    verifier = Verifier(constant_model(tmp_path, cache, NLI, 1))
    result = verifier.verify(claim, "When did the crews walk out?", [SOURCE])
    assert result.verdict is Verdict.UNSUPPORTED


def test_a_model_with_unknown_labels_is_rejected(tmp_path: Path, cache: Path) -> None:
    checker = constant_model(tmp_path, cache, ("joy", "anger", "fear"), 0)
    with pytest.raises(ModelError, match="cannot be used as a checker: it outputs 3 scores"):
        checker.load()


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"The checker .* is neither the folder") as error:
        cross_encoder_folder(str(tmp_path), ModelRole.CHECKER)
    assert "RAG_CHECKER" in str(error.value)
