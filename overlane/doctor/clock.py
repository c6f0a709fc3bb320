"""The host's clocks: their rate, who keeps them right, and what reading them costs."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass

from overlane.doctor.check import Check, Host, ok, warning

WATCH_S = 0.25  # chosen: a step of 1 ms, and 500 ppm, show in it
STEP_NS = 2_000_000  # chosen: above what reading the clocks one after another can add
MAX_SLEW_PPM = 500  # adjtimex(2): the most that the kernel's NTP clock discipline corrects
MAX_ERROR_US = 100_000  # chosen: certificates and logs bear more; more means nobody disciplines it
SLOW_SOURCES = ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
READINGS = 5


class _Timex(ctypes.Structure):
    """struct timex of sys/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """The three clocks at one moment, in nanoseconds."""

    monotonic_ns: int
    realtime_ns: int
    raw_ns: int

    @classmethod
    def now(cls) -> Reading:
        """Of several, the one taken in the least time: nothing came between its parts."""
        found = []
        for _ in range(READINGS):
            before_ns = time.monotonic_ns()
            realtime_ns = time.time_ns()
            raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            after_ns = time.monotonic_ns()
            middle_ns = (before_ns + after_ns) // 2
            found.append((after_ns - before_ns, cls(middle_ns, realtime_ns, raw_ns)))
        return min(found, key=lambda each: each[0])[1]


def check_clock(host: Host) -> list[Check]:
    """Takes `WATCH_S`."""
    first = Reading.now()
    time.sleep(WATCH_S)
    return [judge_rate(first, Reading.now()), _check_synchronised(), check_source(host)]


def judge_rate(first: Reading, last: Reading) -> Check:
    """Whether wall clock and monotonic clock went on together, and at the hardware's rate."""
    what = "rate"
    monotonic_ns = last.monotonic_ns - first.monotonic_ns
    step_ns = last.realtime_ns - first.realtime_ns - monotonic_ns
    if abs(step_ns) > STEP_NS:
        return warning(
            what,
            f"the wall clock was set by {step_ns / 1e6:+.1f} ms within {monotonic_ns / 1e9:.2f} s",
            "let one service discipline the clock, and slew instead of step: see chronyc tracking",
        )
    slew_ppm = (monotonic_ns / (last.raw_ns - first.raw_ns) - 1) * 1e6
    if abs(slew_ppm) > MAX_SLEW_PPM:
        return warning(
            what,
            f"the kernel slews the clock by {slew_ppm:+.0f} ppm",
            "wait until it has settled, or find out who adjusts it: see chronyc tracking",
        )
    return ok(what, f"wall clock and monotonic clock agree; slewed by {slew_ppm:+.0f} ppm")


def _check_synchronised() -> Check:
    what = "synchronised"
    state = _Timex()
    result = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        return warning(what, f"the kernel does not tell: {reason}", "look with: timedatectl")
    return judge_synchronised(result != TIME_ERROR, state.maxerror)


def judge_synchronised(is_synchronised: bool, max_error_us: int) -> Check:
    """What the kernel's NTP state says. max_error_us: its own bound."""
    what = "synchronised"
    if not is_synchronised:
        return warning(
            what,
            "the kernel says that nobody keeps the wall clock right",
            "start chrony or systemd-timesyncd (timedatectl set-ntp true); in a guest, have the "
            "host do it",
        )
    if max_error_us > MAX_ERROR_US:
        return warning(
            what,
            f"the wall clock may be off by {max_error_us / 1000:.0f} ms",
            "see whether the time servers answer: chronyc sources, or timedatectl timesync-status",
        )
    return ok(what, f"by the kernel's account, within {max_error_us / 1000:.1f} ms")


def check_source(host: Host) -> Check:
    """The engine reads the clock each turn, so a slow source costs on every packet."""
    what = "clock source"
    directory = "sys/devices/system/clocksource/clocksource0"
    source = (host.read(f"{directory}/current_clocksource") or "").strip()
    if source in SLOW_SOURCES:
        available = (host.read(f"{directory}/available_clocksource") or "").split()
        better = [name for name in available if name not in SLOW_SOURCES]
        mend = f"boot with clocksource={better[0]}" if better else "see dmesg for why tsc was left"
        return warning(what, f"{source}: each reading is slow or coarse", mend)
    return ok(what, source or "not told by this kernel")
