"""`model/documents.py`: packed documents have the numbers that they have alone."""

import pytest
import torch

from model.documents import Documents
from model.small import small_model
from schemas.errors import ModelError


def test_a_packed_document_is_as_it_is_alone() -> None:
    model = small_model(seed=3)
    random = torch.Generator().manual_seed(0)
    lengths = (7, 1, 20, 12)
    parts = [torch.randn(1, n, model.spec.backbone.width, generator=random) for n in lengths]
    packed = model.model(torch.cat(parts, dim=1), documents=Documents(lengths))
    for part, found in zip(parts, packed.split(lengths, dim=1), strict=True):
        torch.testing.assert_close(found, model.model(part), atol=1e-5, rtol=1e-5)


def test_positions_begin_anew() -> None:
    documents = Documents((2, 3, 1))
    assert documents.positions(torch.device("cpu")).tolist() == [0, 1, 0, 1, 2, 0]
    assert documents.starts == (0, 2, 5)


@pytest.mark.parametrize("lengths", [(), (3, 0)])
def test_empty_documents_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="wanted one or more"):
        Documents(lengths)
