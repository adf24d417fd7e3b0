"""The linear transformation of the stored positions: scale, asymmetry, rotation and shear, about their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class PositionTransform:
    """A linear transformation of positions (y, x): sheared, then stretched, then rotated.

    Every matrix with a positive determinant is one of these. The names are the field's (PtychoShelves, PtyRAD, which
    rotate before they stretch, so that not every matrix can be written like that).

    Attributes:
        scale: Factor on both axes.
        asymmetry: Relative difference of the factors on y and x, which are ``scale (1 + asymmetry / 2)`` and
            ``scale (1 - asymmetry / 2)``; between -2 and 2.
        rotation_deg: Rotation from the y axis towards the x axis.
        shear_deg: Angle by which the y axis leans towards the x axis: x grows by its tangent times y.
    """

    scale: float = 1.0
    asymmetry: float = 0.0
    rotation_deg: float = 0.0
    shear_deg: float = 0.0

    @classmethod
    def from_matrix(cls, matrix: Matrix) -> PositionTransform:
        """The transformation with a given matrix on columns (y, x), ``(2, 2)``, of positive determinant."""
        (first, mixed), (_, second) = matrix.T @ matrix
        shear = mixed / second
        y_factor, x_factor = float(np.sqrt(first - shear * mixed)), float(np.sqrt(second))
        return cls(
            (y_factor + x_factor) / 2, 2 * (y_factor - x_factor) / (y_factor + x_factor),
            float(np.rad2deg(np.arctan2(-matrix[0, 1], matrix[1, 1]))), float(np.rad2deg(np.arctan(shear))),
        )  # fmt: skip

    @property
    def matrix(self) -> Matrix:
        """Matrix on columns (y, x), ``(2, 2)``."""
        angle = np.deg2rad(self.rotation_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        lean = np.array([[1.0, 0.0], [np.tan(np.deg2rad(self.shear_deg)), 1.0]])
        stretch = self.scale * np.array([1 + self.asymmetry / 2, 1 - self.asymmetry / 2])
        return np.asarray(turn @ (stretch[:, None] * lean))

    def __call__(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform positions (y, x), ``(frame, 2)``, about their mean."""
        middle = positions.mean(axis=0)
        return np.asarray((positions - middle) @ self.matrix.T + middle)
