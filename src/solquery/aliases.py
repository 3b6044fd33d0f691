"""Names of the types that stand in many signatures; what has fixed keys is a dataclass or a TypedDict instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

__all__ = ["Array", "Document", "Embedder", "Entries", "Header", "Keywords", "Row"]

#: Numbers that are used as they are, of numpy or of torch.
Array: TypeAlias = "np.ndarray | Tensor"
#: What embeds: patches (N, 1, H, W) to vectors (N, D); a network of torch, or any other callable.
Embedder: TypeAlias = "Callable[[Tensor], Array]"
#: A JSON object: text to numbers, texts, lists and further documents.
Document: TypeAlias = dict[str, Any]
#: A document or a row that is only read.
Entries: TypeAlias = Mapping[str, Any]
#: A row of a table: name of a column to its value.
Row: TypeAlias = dict[str, Any]
#: The keywords of a FITS header, only read: upper-case name to number, text or None.
Keywords: TypeAlias = Mapping[str, Any]
#: The keywords of a FITS header that is being made.
Header: TypeAlias = dict[str, Any]
