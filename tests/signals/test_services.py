"""Each live service's requests and answers, on the documented shapes in tests/data/signals."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from green_llm.api.v1alpha1.source import SourceSpec
from green_llm.domain.series import Measure, Place, Point, Quality, Quantity, SignalKind
from green_llm.domain.services import SERVICES, TEMPLATES
from green_llm.errors import SignalError
from green_llm.signals.factors import carbon_intensity, water_intensity
from green_llm.signals.feed import Ask
from green_llm.signals.registry import FEEDS
from green_llm.signals.wet_bulb import tower_wue
from support.services import LISTS

DATA = Path(__file__).parents[1] / "data" / "signals"
NOW = datetime(2026, 11, 22, 10, 5, tzinfo=UTC)
PRICE, CARBON = SignalKind.ELECTRICITY_PRICE, SignalKind.CARBON_INTENSITY
SECRET = "USER:s3cret"  # noqa: S105 - an invented one, to look for


def body(name: str) -> bytes:
    return (DATA / name).read_bytes()


def ask(kind: Quantity, place: Place | None = None, factors: str = "Lifecycle", **params: str) -> Ask:
    start = NOW.replace(minute=0) - timedelta(hours=26)
    return Ask(kind, params, start, start + timedelta(hours=76), NOW, factors, place, SECRET)


def parsed(service: str, asked: Ask, *bodies: bytes) -> tuple[str, tuple[Point, ...]]:
    found = FEEDS[service].parse(asked, bodies)
    starts = [point.start for point in found.points]
    assert starts == sorted(set(starts)), "ordered, each once"
    assert all(point.start < point.end for point in found.points)
    return found.unit, found.points


def values(points: tuple[Point, ...]) -> list[float]:
    return [round(point.value, 4) for point in points]


def at(hour: int, minute: int = 0, day: int = 22) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_every_service_has_a_feed_and_is_offered() -> None:
    offered = set(SourceSpec.model_fields["provider"].annotation.__args__)  # type: ignore[union-attr]
    assert set(SERVICES) == set(FEEDS) == offered - {"Static", "Tariff", "Csv", "Persistence"}


def test_electricity_maps() -> None:
    unit, points = parsed("ElectricityMaps", ask(CARBON, zone="DE"), body("electricity_maps/ci-history.json"), body("electricity_maps/ci-forecast.json"))  # fmt: skip
    assert unit == "g/kWh"
    assert [(p.start, p.value, p.quality) for p in points] == [
        (at(8), 288.0, Quality.MEASURED), (at(10), 302.0, Quality.FORECAST), (at(11), 291.0, Quality.FORECAST),
        (at(12), 285.0, Quality.FORECAST),
    ]  # fmt: skip
    assert points[1].issued_at == datetime(2026, 11, 22, 9, 47, 20, tzinfo=UTC)
    # A key without the forecast: history serves alone.
    assert len(parsed("ElectricityMaps", ask(CARBON, zone="DE"), body("electricity_maps/ci-history.json"), b"")[1]) == 1
    unit, points = parsed("ElectricityMaps", ask(PRICE, zone="DE"), body("electricity_maps/price-combined.json"))
    assert (unit, values(points), points[0].issued_at) == ("EUR/MWh", [71.4, -3.2], None)
    with pytest.raises(SignalError, match='answered for the zone "DE", not "FR"'):
        parsed("ElectricityMaps", ask(CARBON, zone="FR"), body("electricity_maps/ci-history.json"), b"")
    direct = body("electricity_maps/ci-history.json").replace(b'"zone": "DE",\n  "history"', b'"emissionFactorType": "lifecycle", "zone": "DE", "history"')  # fmt: skip
    with pytest.raises(SignalError, match="lifecycle factors, not direct"):
        parsed("ElectricityMaps", ask(CARBON, factors="Direct", zone="DE"), direct, b"")


def test_uk_carbon_intensity() -> None:
    unit, points = parsed("UKCarbonIntensity", ask(CARBON), body("uk_carbon_intensity/intensity-fw24h.json"), b'{"data": []}')  # fmt: skip
    assert unit == "g/kWh"
    # The first half hour has an actual value, but is not over: it is still a forecast.
    assert [(p.value, p.quality) for p in points] == [(171.0, Quality.FORECAST), (166.0, Quality.FORECAST)]
    for name in ("regional-postcode-fw", "regional-postcode-now"):
        _, points = parsed("UKCarbonIntensity", ask(CARBON, region="12"), body(f"uk_carbon_intensity/{name}.json"))
        assert values(points) == [203.0]
    requests = FEEDS["UKCarbonIntensity"].requests(ask(CARBON, region="13"))
    assert [r.path for r in requests] == [
        "/regional/intensity/2026-11-22T10:05Z/pt24h/regionid/13", "/regional/intensity/2026-11-22T10:05Z/fw48h/regionid/13"
    ]  # fmt: skip


def test_watt_time() -> None:
    unit, points = parsed("WattTime", ask(CARBON, region="CAISO_NORTH"), body("watt_time/forecast.json"))
    assert unit == "lb/MWh"
    assert values(points) == [902.4, 899.1, 0.0]
    assert points[0].end - points[0].start == timedelta(minutes=5)
    assert points[0].issued_at == at(9, 55)
    login = FEEDS["WattTime"].login
    assert login is not None
    assert login.token(body("watt_time/login.json")) == "EXAMPLE.NOT-A-REAL.TOKEN"
    with pytest.raises(SignalError, match="gave no token"):
        login.token(b"{}")
    with pytest.raises(SignalError, match='the unit "percentile" is unknown'):
        parsed("WattTime", ask(CARBON, region="CAISO_NORTH"), body("watt_time/forecast.json").replace(b"lbs_co2_per_mwh", b"percentile"))  # fmt: skip


def test_carbon_aware_sdk() -> None:
    unit, points = parsed("CarbonAwareSDK", ask(CARBON, location="westus"), body("carbon_aware_sdk/forecast-current.json"))  # fmt: skip
    assert (unit, values(points)) == ("g/kWh", [401.9, 400.2])
    assert points[0].end == points[1].start
    negative = body("carbon_aware_sdk/forecast-current.json").replace(b"400.2", b"-1")
    assert values(parsed("CarbonAwareSDK", ask(CARBON, location="westus"), negative)[1]) == [401.9]


def test_energy_charts() -> None:
    unit, points = parsed("EnergyCharts", ask(PRICE, zone="DE-LU"), body("energy_charts/price.json"))
    assert (unit, values(points)) == ("EUR/MWh", [84.1, 80.55, -4.35])
    assert points[0].start == at(23, day=21)
    assert points[0].issued_at is None
    assert parsed("EnergyCharts", ask(PRICE, zone="DE-LU"), b"")[1] == ()
    unit, points = parsed("EnergyCharts", ask(CARBON, zone="de"), body("energy_charts/public-power.json"))
    assert (unit, values(points)) == ("g/kWh", [11.0]), "the second has no solar value yet"


def test_entsoe_prices() -> None:
    unit, points = parsed("Entsoe", ask(PRICE, zone="10Y1001A1001A82H"), body("entsoe/a44-a03.xml"))
    assert unit == "EUR/MWh"
    assert len(points) == 96
    assert [p.value for p in points[1:4]] == [80.55] * 3
    assert next(p.value for p in points if p.start == at(9)) == -4.35
    assert points[-1].start == at(22, 45)
    assert points[-1].value == 95.2
    assert sum(p.value for p in points) / 96 == pytest.approx(65.7149, abs=1e-4)


def test_entsoe_says_that_there_is_nothing_yet() -> None:
    assert parsed("Entsoe", ask(PRICE, zone="x"), body("entsoe/ack-nodata.xml"))[1] == ()
    with pytest.raises(SignalError, match="refused with code 401"):
        parsed("Entsoe", ask(PRICE, zone="x"), body("entsoe/ack-nodata.xml").replace(b"999", b"401"))
    with pytest.raises(SignalError, match="declares a document type"):
        parsed("Entsoe", ask(PRICE, zone="x"), b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(SignalError, match="not XML"):
        parsed("Entsoe", ask(PRICE, zone="x"), body("entsoe/a44-a03.xml")[:500])


def entsoe_day(start: str, end: str, *series: tuple[str, str, dict[int, float]]) -> bytes:
    """A price document: (curve type, resolution, prices by position) of each series."""
    rows = "".join(
        f"<TimeSeries><currency_Unit.name>EUR</currency_Unit.name><curveType>{curve}</curveType><Period><timeInterval>"
        f"<start>{start}</start><end>{end}</end></timeInterval><resolution>{resolution}</resolution>"
        + "".join(f"<Point><position>{n}</position><price.amount>{v}</price.amount></Point>" for n, v in prices.items())
        + "</Period></TimeSeries>"
        for curve, resolution, prices in series
    )
    return f'<Publication_MarketDocument xmlns="urn:x:7:0">{rows}</Publication_MarketDocument>'.encode()


@pytest.mark.parametrize(
    ("start", "end", "quarters"),
    [
        ("2026-10-24T22:00Z", "2026-10-25T23:00Z", 100),  # Berlin: 25 hours
        ("2027-03-27T23:00Z", "2027-03-28T22:00Z", 92),  # 23 hours
    ],
)
def test_days_of_23_and_25_hours(start: str, end: str, quarters: int) -> None:
    document = entsoe_day(start, end, ("A03", "PT15M", {1: 10.0, quarters: -5.0}))
    _, points = parsed("Entsoe", ask(PRICE, zone="x"), document)
    assert len(points) == quarters
    assert points[-1].value == -5.0
    assert points[-2].value == 10.0


def test_entsoe_takes_the_finest_resolution_and_all_positions_of_a01() -> None:
    both = entsoe_day("2026-11-22T00:00Z", "2026-11-22T01:00Z", ("A01", "PT60M", {1: 7.0}), ("A01", "PT15M", {1: 1.0, 2: 2.0, 4: 4.0}))  # fmt: skip
    _, points = parsed("Entsoe", ask(PRICE, zone="x"), both)
    assert values(points) == [1.0, 2.0, 4.0], "a gap stays a gap where positions do not repeat"


def test_entsoe_generation() -> None:
    unit, points = parsed("Entsoe", ask(CARBON, zone="10Y1001A1001A82H"), body("entsoe/a75-generation.xml"))
    assert (unit, values(points)) == ("g/kWh", [11.0] * 4), "wind alone; what pumps consume is left out"


def test_eia() -> None:
    unit, points = parsed("Eia", ask(CARBON, respondent="CISO"), body("eia/fuel-type.json"))
    assert (unit, values(points)) == ("g/kWh", [490.0]), "gas; the battery is left out"
    assert (points[0].start, points[0].end) == (at(4, day=20), at(5, day=20)), "the stamp is the hour's end"
    with pytest.raises(SignalError, match="holds no response"):
        parsed("Eia", ask(CARBON, respondent="CISO"), body("eia/error-403.json"))


def test_caiso_outlook() -> None:
    unit, points = parsed("CaisoOutlook", ask(CARBON), b"", body("caiso_outlook/fuelsource.csv"))
    assert unit == "g/kWh"
    assert round(points[0].value, 2) == 291.70
    assert points[0].start == at(8), "midnight in California"
    with pytest.raises(SignalError, match="layout has changed"):
        parsed("CaisoOutlook", ask(CARBON), b"", b"a,b\n1,2\n")


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def test_caiso_oasis() -> None:
    node = ask(PRICE, node="TH_NP15_GEN-APND")
    unit, points = parsed("CaisoOasis", node, zipped("x.csv", body("caiso_oasis/prc-lmp.csv")))
    assert (unit, values(points)) == ("USD/MWh", [41.93, 39.9]), "in order, without the components"
    assert points[0].start == at(8)
    assert parsed("CaisoOasis", node, zipped("INVALID_REQUEST.xml", body("caiso_oasis/error.xml")))[1] == ()
    with pytest.raises(SignalError, match="refused with code 1004"):
        parsed("CaisoOasis", node, zipped("x.xml", body("caiso_oasis/error.xml").replace(b"1000", b"1004")))
    with pytest.raises(SignalError, match="is no ZIP"):
        parsed("CaisoOasis", node, b"<html>busy</html>")
    with pytest.raises(SignalError, match="would unpack to"):
        parsed("CaisoOasis", node, zipped("bomb.csv", b"0" * 30_000_000))


def test_grid_status_io() -> None:
    asked = ask(PRICE, dataset="caiso_lmp_day_ahead_hourly", location="TH_NP15_GEN-APND")
    unit, points = parsed("GridStatusIo", asked, body("grid_status_io/query.json"))
    assert (unit, values(points), points[0].issued_at) == ("USD/MWh", [41.93, -2.5], None)
    live = ask(PRICE, dataset="caiso_lmp_real_time_5_min", location="TH_NP15_GEN-APND")
    assert parsed("GridStatusIo", live, body("grid_status_io/query.json"))[1][0].issued_at == at(9)


def test_octopus_agile() -> None:
    unit, points = parsed("OctopusAgile", ask(PRICE, product="AGILE-24-10-01", region="C"), body("octopus_agile/agile.json"))  # fmt: skip
    assert (unit, values(points)) == ("GBP/MWh", [-12.0, 178.5])
    open_ended = body("octopus_agile/agile.json").replace(b'"valid_to": "2026-11-22T11:00:00Z"', b'"valid_to": null')
    assert parsed("OctopusAgile", ask(PRICE, product="A", region="C"), open_ended)[1][-1].end == at(11)


def test_awattar() -> None:
    unit, points = parsed("Awattar", ask(PRICE), body("awattar/marketdata.json"))
    assert (unit, values(points)) == ("EUR/MWh", [71.42, -3.2])
    assert points[0].start == at(9)


FRANKFURT = Place(50.11, 8.68, 30.0, 180.0, 100.0)


def test_open_meteo_solar() -> None:
    _, points = parsed(
        "OpenMeteo", ask(SignalKind.SOLAR_OUTPUT, FRANKFURT), with_wind(body("open_meteo/forecast.json"))
    )
    assert [p.start for p in points] == [at(10), at(11)]
    # 11:00's radiation is that of 10:00 to 11:00: 309.8 W/m² at 6.55 °C and 2 m/s.
    # Cell 14.6 °C, DC 0.2759 after losses, inverter 95.8 %.
    assert points[0].value == pytest.approx(0.2644, abs=1e-4)
    (request,) = FEEDS["OpenMeteo"].requests(ask(SignalKind.SOLAR_OUTPUT, Place(50.11, 8.68, 30.0, 270.0)))
    assert request.query["azimuth"] == "90", "west is 270 clockwise from north, and 90 there"
    with pytest.raises(SignalError, match="is in km/h, not in m/s"):
        parsed("OpenMeteo", ask(SignalKind.WIND_OUTPUT, FRANKFURT), body("open_meteo/forecast.json").replace(b"m/s", b"km/h"))  # fmt: skip


def test_open_meteo_water_of_cooling() -> None:
    answer = json.loads(body("open_meteo/forecast.json"))
    answer["hourly"]["wet_bulb_temperature_2m"] = [15.0, 25.0, None]
    answer["hourly_units"]["wet_bulb_temperature_2m"] = "°C"
    place = replace(FRANKFURT, wue_annual_mean_l_per_kwh=0.5, wue_curve_mean_l_per_kwh=4.0)
    unit, points = parsed("OpenMeteo", ask(SignalKind.WUE, place), json.dumps(answer).encode())
    # The hour from 10:00 is between 15 and 25 °C: the curve at 20 °C is 4.447 L/kWh, and the site's mean an eighth of the curve's.
    assert unit == "L/kWh"
    assert [(p.start, round(p.value, 4)) for p in points] == [(at(10), round(0.5 / 4.0 * 4.447, 4))]
    assert [round(tower_wue(celsius), 3) for celsius in (-5, 0, 10, 30)] == [0.05, 1.015, 3.12, 7.516]


def test_prometheus() -> None:
    asked = replace(ask(Measure.DEMAND, namespace="a.b", route='x"y', rule="0"), query='f{n=~"${namespace:regex}/$rule",r="$route"}[$window]')  # fmt: skip
    (request,) = FEEDS["Prometheus"].requests(asked)
    assert request.query["query"] == r'f{n=~"a\\.b/0",r="x\"y"}[900s]'
    assert (request.query["step"], request.query["end"]) == ("900", f"{at(10).timestamp():.0f}")
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    # Once known, only what is young is asked for again.
    (again,) = FEEDS["Prometheus"].requests(replace(asked, known_until=at(10)))
    assert again.query["start"] == f"{at(9).timestamp():.0f}"
    unit, points = parsed("Prometheus", asked, body("prometheus/query-range.json"))
    assert (unit, values(points)) == ("queries/h", [1800.0, 900.0])
    assert points[0].end == datetime.fromtimestamp(1795338000, UTC)
    with pytest.raises(SignalError, match="refuses the query: bad_data: invalid parameter"):
        parsed("Prometheus", asked, body("prometheus/error-400.json"))
    two = json.loads(body("prometheus/query-range.json"))
    two["data"]["result"] = [{"metric": {"pod": "a"}, "values": []}, {"metric": {"pod": "b"}, "values": []}]
    with pytest.raises(SignalError, match=r"gives 2 series \(by pod\); sum them"):
        parsed("Prometheus", asked, json.dumps(two).encode())
    with pytest.raises(SignalError, match='needs the parameter "model"'):
        FEEDS["Prometheus"].requests(replace(asked, query="$model"))


def test_templates_are_filled_from_what_they_declare() -> None:
    for template in TEMPLATES.values():
        for measure, query in template.queries.items():
            given = {"namespace": "n", **dict.fromkeys(template.params, "1")}
            if measure is Measure.SERVED:
                given |= {"backend": "llm-near", "backendNamespace": "inference"}
            filled = FEEDS["Prometheus"].requests(replace(ask(measure, **given), query=query))
            assert "$" not in filled[0].query["query"].replace("${1}", ""), "but for a group of label_replace"
            assert all(re.fullmatch(pattern, "1") for pattern in template.params.values())
        assert (Measure.DEMAND in template.queries) != (Measure.FINISHED in template.queries), (
            "servers count after routing"
        )


def with_wind(answer: bytes) -> bytes:
    document = json.loads(answer)
    document["hourly"]["wind_speed_10m"] = [2.0, 2.0, 2.0]
    return json.dumps(document).encode()


def test_open_meteo_wind() -> None:
    _, points = parsed("OpenMeteo", ask(SignalKind.WIND_OUTPUT, FRANKFURT), body("open_meteo/forecast.json"))
    # 8.1 m/s at 80 m and 9.05 at 120 m make 8.6 at 100 m; the second hour has no pressure.
    assert [round(p.value, 2) for p in points] == [0.47]


@pytest.mark.parametrize("service", sorted(SERVICES))
@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b"null", b'{"error": "no"}', b"<html>busy</html>", b'{"data": [{']
)
def test_an_error_with_status_200_is_an_error_or_nothing(service: str, answer: bytes) -> None:
    kind, params, count = LISTS[service]
    expected = (SignalError, KeyError, IndexError, TypeError, ValueError, AttributeError)
    try:
        found = FEEDS[service].parse(ask(kind, FRANKFURT, **params), [answer] * count)
    except expected:
        return
    assert found.points == ()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_secrets_are_in_headers_or_private(service: str) -> None:
    kind, params, _ = LISTS[service]
    for request in FEEDS[service].requests(ask(kind, FRANKFURT, **params)):
        assert "s3cret" not in request.path + json.dumps(dict(request.query))


def test_carbon_of_a_mix() -> None:
    assert carbon_intensity({"gas": 50.0, "wind": 50.0}, "Lifecycle") == pytest.approx((490 + 11) / 2)
    assert carbon_intensity({"gas": 50.0, "storage": 500.0, "solar": -3.0}, "Direct") == pytest.approx(370.0)
    assert carbon_intensity({"unheard-of": 1.0}, "Lifecycle") == 700.0
    assert carbon_intensity({"storage": 5.0}, "Lifecycle") is None
    with pytest.raises(SignalError, match="no emission factors"):
        carbon_intensity({}, "Net")


def test_water_of_a_mix_both_ways() -> None:
    mix = {"hydro": 50.0, "gas": 50.0}
    assert water_intensity(mix, "Excluded") == pytest.approx(0.39)
    assert water_intensity(mix, "Included") == pytest.approx((17.0 + 0.78) / 2)
    for service, params, names in (
        ("Eia", {"respondent": "CISO"}, ["eia/fuel-type.json"]), ("EnergyCharts", {"zone": "DE"}, ["energy_charts/public-power.json"]),
        ("Entsoe", {"zone": "10Y1001A1001A83F"}, ["entsoe/a75-generation.xml"]), ("CaisoOutlook", {}, ["caiso_outlook/fuelsource.csv"] * 2),
    ):  # fmt: skip
        bodies = [body(name) for name in names]
        unit, without = parsed(service, ask(SignalKind.EWIF, **params), *bodies)
        _, included = parsed(service, ask(SignalKind.EWIF, hydro="Included", **params), *bodies)
        assert unit == "L/kWh"
        assert without
        assert [p.other_value for p in without] == [p.value for p in included]
        assert [p.other_value for p in included] == [p.value for p in without]


def test_every_service_is_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "signals.md").read_text(encoding="utf-8")
    for service in SERVICES.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{service.name}` |"))
        assert all(kind.value in row for kind in service.kinds)
        assert all(f"`{name}`" in row for name in (*service.params, *service.optional))
