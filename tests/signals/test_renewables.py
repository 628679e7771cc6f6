"""Output of solar and wind, against figures computed with pvlib 0.16.1 (Frankfurt, tilt 30, south)."""

from __future__ import annotations

import pytest

from green_llm.signals.renewables import solar_output, wind_output


@pytest.mark.parametrize(
    ("plane", "air", "wind", "expected"),
    [(830.88, 25.0, 3.0, 0.642895), (866.57, 28.0, 2.0, 0.652531), (294.58, 3.0, 4.0, 0.256372), (0.0, 20.0, 1.0, 0.0)],
)
def test_solar(plane: float, air: float, wind: float, expected: float) -> None:
    assert solar_output(plane, air, wind) == pytest.approx(expected, abs=2e-5)


def test_an_inverter_clips() -> None:
    assert solar_output(1400.0, -10.0, 8.0) == pytest.approx(1 / 1.2)


def test_wind_by_the_curve() -> None:
    # 15 °C and 1013.25 hPa are standard density: the curve at 8 m/s, and 10 % of wakes.
    assert wind_output((80.0, 8.0), (120.0, 8.0), 100.0, 15.0, 1013.25) == pytest.approx(0.42 * 0.9, abs=1e-3)
    assert wind_output((80.0, 2.0), (120.0, 2.5), 100.0, 15.0, 1013.0) == 0.0
    assert wind_output((80.0, 26.0), (120.0, 27.0), 100.0, 15.0, 1013.0) == 0.0
    assert wind_output((80.0, 8.0), (120.0, 9.0), 100.0, -10.0, 1030.0) > wind_output(
        (80.0, 8.0), (120.0, 9.0), 100.0, 30.0, 990.0
    )
    assert wind_output((80.0, 0.0), (120.0, 12.0), 110.0, 15.0, 1013.0) > 0.0
