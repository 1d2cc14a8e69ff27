"""Numbers as the report writes them."""


def seconds(value: float) -> str:
    """Seconds as people say them: 0.42 s, 12.3 s, 12m 47s."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    return f"{round(value) // 60}m {round(value) % 60:02d}s"


def percent(share: float) -> str:
    """A fraction of 1 as a percentage with two decimals, the study's precision."""
    return f"{100 * share:.2f} %"
