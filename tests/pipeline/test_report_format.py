"""`pipeline/report_format.py`: numbers as people read them."""

from pipeline.report_format import clock, figure, money, share, span


def test_figures_are_written_for_people() -> None:
    assert [span(s) for s in (None, 0.04, 89, 90, 5400, 3.6e9)] == [
        "–",
        "0.0 s",
        "89.0 s",
        "1.5 min",
        "1.5 h",
        "1,000,000 h",
    ]
    assert [clock(s) for s in (0, 59.96, 61.25, 3723.4)] == [
        "0:00.0",
        "1:00.0",
        "1:01.2",
        "1:02:03.4",
    ]
    assert [figure(v) for v in (None, 0.123, -23.04, 7631.2)] == ["–", "0.12", "−23.0", "7,631"]
    assert [money(a, "USD") for a in (0.0023, 12.5)] == ["0.0023 USD", "12.50 USD"]
    assert [share(p, w) for p, w in ((1, 4), (9, 4), (1, 0))] == [25.0, 100.0, 0.0]
