"""Numbers, durations and counts as text for people."""


def number(value: float) -> str:
    """Shows an objective with four digits after the point, or three significant ones if tiny.

    Example:
        >>> number(0.90084), number(1.234e-5)
        ('0.9008', '1.23e-05')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def count(how_many: int, noun: str) -> str:
    """Joins a number and a noun: `1 epoch`, `2 epochs`."""
    return f"{how_many} {noun}{'' if how_many == 1 else 's'}"


def duration(seconds: float) -> str:
    """Rounds to two units at most: `34 s`, `12 min`, `1 h 05 min`, `2 d 03 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"
