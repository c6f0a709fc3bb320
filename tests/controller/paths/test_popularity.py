"""Who is popular, from when, until when."""

import pytest

from controller.errors import InvalidSettingError
from controller.paths import Popularity, PopularityConfig

HOUR = 3_600_000_000
CONFIG = PopularityConfig(half_life_us=HOUR, popular_views=100, campaign_lead_us=HOUR // 6)


def test_views_count_half_after_each_half_life() -> None:
    popularity = Popularity(CONFIG)
    popularity.on_view("show", 0, views=64)
    assert popularity.views("show", 0) == 64
    assert popularity.views("show", HOUR) == 32
    popularity.on_view("show", 2 * HOUR, views=4)
    assert popularity.views("show", 3 * HOUR) == 10
    assert popularity.views("other", 0) == 0


def test_popular_from_100_views_until_50() -> None:
    popularity = Popularity(CONFIG)
    popularity.on_view("show", 0, views=99)
    assert popularity.update(0) == ()
    popularity.on_view("show", 0)
    assert popularity.update(0) == ("show",)
    assert popularity.update(HOUR) == ("show",)
    assert popularity.update(HOUR + HOUR // 60) == ()
    assert popularity.update(HOUR) == ()


def test_a_campaign_counts_ahead_of_its_start_until_its_end() -> None:
    popularity = Popularity(CONFIG)
    popularity.announce_campaign("sale", 10 * HOUR, 11 * HOUR)
    lead_us = HOUR // 6
    assert popularity.update(10 * HOUR - lead_us - 1) == ()
    assert popularity.update(10 * HOUR - lead_us) == ("sale",)
    assert popularity.update(11 * HOUR - 1) == ("sale",)
    assert popularity.update(11 * HOUR) == ()
    popularity.announce_campaign("sale", 20 * HOUR, 21 * HOUR)
    popularity.cancel_campaign("sale")
    popularity.cancel_campaign("sale")
    assert popularity.update(20 * HOUR) == ()


def test_the_number_is_bounded_campaigns_first() -> None:
    popularity = Popularity(PopularityConfig(max_broadcasts=3, half_life_us=HOUR))
    for name, views in (("c", 300), ("a", 200), ("b", 200), ("sale", 500)):
        popularity.on_view(name, 0, views)
    popularity.announce_campaign("sale", 0, HOUR)
    popularity.announce_campaign("new", 0, HOUR)
    assert popularity.update(0) == ("c", "new", "sale")
    popularity.cancel_campaign("new")
    assert popularity.update(0) == ("a", "c", "sale")


def test_what_is_no_longer_watched_is_forgotten() -> None:
    popularity = Popularity(CONFIG)
    popularity.on_view("show", 0)
    popularity.update(HOUR)
    assert popularity.views("show", HOUR) == 0.5
    popularity.update(HOUR + 1)
    assert popularity.views("show", HOUR) == 0


def test_settings_out_of_range() -> None:
    for settings in ({"half_life_us": 0}, {"popular_views": 0}, {"max_broadcasts": -1}):
        with pytest.raises(InvalidSettingError):
            PopularityConfig(**settings)
