"""Double precision for batches that are frozen dataclasses, which Lightning's own plugin refuses."""

from __future__ import annotations

from dataclasses import fields

import torch
from lightning.pytorch.plugins.precision import DoublePrecision

from ptycho_cli.data.batch import Batch


class DoubleBatches(DoublePrecision):
    """Lightning's ``64-true`` for :class:`~ptycho_cli.data.batch.Batch`."""

    def convert_input(self, data: Batch) -> Batch:
        """Make the real numbers of a batch double; indices stay what they are."""
        tensors = (getattr(data, field.name) for field in fields(data))
        return Batch(*(tensor.double() if torch.is_floating_point(tensor) else tensor for tensor in tensors))
