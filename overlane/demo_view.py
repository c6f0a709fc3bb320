"""What a running demo shows: a live table in a terminal, a line every few seconds elsewhere."""

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from lab.demo import Progress
from lab.demo_report import hop_table

LINE_EVERY_S = 5.0


class DemoView:
    """Holds the newest progress; rich draws it when it likes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress("starting", 0.0, 1.0, [], {})
        self._next_line_s = 0.0
        self._last_step = ""

    def show(self, progress: Progress) -> None:
        """For a terminal."""
        self.progress = progress

    def show_line(self, progress: Progress) -> None:
        """For a log."""
        self.progress = progress
        if progress.elapsed_s < self._next_line_s and progress.step == self._last_step:
            return
        self._last_step = progress.step
        self._next_line_s = progress.elapsed_s + LINE_EVERY_S
        self.console.print(self._headline())

    def _headline(self) -> Text:
        progress = self.progress
        lost = sum(hop.lost_on_link for hop in progress.hops)
        repaired = sum(hop.repaired for hop in progress.hops)
        watching = ", ".join(
            f"{node} {packets}" for node, packets in progress.viewer_packets.items() if packets
        )
        text = f"{progress.elapsed_s:5.1f} of {progress.seconds:.0f} s  {progress.step}"
        if progress.hops:
            text += (
                f"; lost {lost}, repaired {repaired}; packets to viewers: {watching or 'none yet'}"
            )
        return Text(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts: list[RenderableType] = [
            self._headline(),
            ProgressBar(total=self.progress.seconds, completed=self.progress.elapsed_s, width=60),
            Text(),  # the bar ends no line
        ]
        if self.progress.hops:
            parts.append(hop_table(self.progress.hops))
        yield Group(*parts)
