"""The drawing of the house: its rooms on their floors, as the test of the imports knows them."""

from __future__ import annotations

import ast
from pathlib import Path

TEST = Path(__file__).parents[1] / "tests" / "test_floors.py"
TITLES = {
    7: "what people type",
    6: "what programs call",
    5: "training and reconstruction",
    4: "settings become objects",
    3: "scans, calibration, pictures",
    2: "physics, networks, plugins",
    1: "settings and geometry",
    0: "errors",
}
# The two wings below the floor where they meet; rooms that neither names stand in the middle.
SETTINGS = ("config", "extend", "schedulers", "render")
BOTH = ("whole_file", "built_in")
WIDTH, HEIGHT, LEFT, GAP = 920, 58, 210, 8


def rooms() -> dict[int, list[str]]:
    """Rooms of every floor, from the table that the test of the imports checks."""
    for node in ast.parse(TEST.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS":
            floors: dict[str, int] = ast.literal_eval(node.value)
            return {floor: [room for room in floors if floors[room] == floor] for floor in set(floors.values())}
    raise LookupError(f"{TEST}: there is no table FLOORS")


def drawing() -> str:
    """Return the house as SVG, on a light ground of its own."""
    floors = rooms()
    top = max(floors)
    parts = [_HEAD.format(width=WIDTH, height=HEIGHT * (top + 1) + 90)]
    parts.append(f'<path class="roof" d="M {LEFT - 20} 46 L {(LEFT + WIDTH) / 2} 6 L {WIDTH - 10} 46 Z"/>')
    for floor in range(top, -1, -1):
        parts += _floor(floor, floors.get(floor, []), 52 + (top - floor) * HEIGHT)
    y = 52 + (top + 1) * HEIGHT + 14
    legend = {"settings": (0, "settings: start without torch"), "science": (210, "science"), "above": (300, "both")}
    for kind, (offset, text) in legend.items():
        x = LEFT + offset
        parts.append(f'<rect class="{kind}" x="{x}" y="{y - 11}" width="14" height="14" rx="3"/>')
        parts.append(f'<text class="note" x="{x + 20}" y="{y}">{text}</text>')
    parts.append(f'<text class="note" x="{LEFT + 390}" y="{y}">an import leads down, or stays in its room</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _floor(floor: int, names: list[str], y: int) -> list[str]:
    lines = [
        f'<line class="slab" x1="{LEFT - 10}" y1="{y + HEIGHT - 4}" x2="{WIDTH - 20}" y2="{y + HEIGHT - 4}"/>',
        f'<text class="floor" x="14" y="{y + 24}">{floor}</text>',
        f'<text class="title" x="34" y="{y + 24}">{TITLES[floor]}</text>',
    ]
    ordered = sorted(names, key=lambda name: name not in SETTINGS)  # the settings wing stands on the left
    space = WIDTH - 30 - LEFT - GAP * (len(ordered) - 1)
    weights = [max(6, len(name)) for name in ordered]
    x = float(LEFT)
    for name, weight in zip(ordered, weights, strict=True):
        width = space * weight / sum(weights)
        kind = "settings" if name in SETTINGS or floor == 0 else "above" if floor > 3 or name in BOTH else "science"
        lines.append(
            f'<rect class="{kind}" x="{x:.0f}" y="{y + 2}" width="{width:.0f}" height="{HEIGHT - 14}" rx="5"/>'
        )
        size = min(13.0, 1.55 * width / len(name))
        lines.append(
            f'<text class="room" x="{x + width / 2:.0f}" y="{y + 29}" style="font-size:{size:.1f}px">{name}</text>'
        )
        x += width + GAP
    return lines


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="Rooms of the program on their floors">
<style>
  text {{ font-family: system-ui, sans-serif; fill: #1b2430; }}
  .title, .note {{ font-size: 12.5px; fill: #55606e; }}
  .floor {{ font-size: 15px; font-weight: 600; }}
  .room {{ text-anchor: middle; font-family: ui-monospace, monospace; }}
  .slab {{ stroke: #9aa5b1; stroke-width: 2; }}
  .roof {{ fill: #c9d3df; }}
  .settings {{ fill: #d7e8fb; stroke: #5b8ec7; }}
  .science {{ fill: #dcf0dc; stroke: #5f9e63; }}
  .above {{ fill: #f3e9d6; stroke: #b08d4a; }}
</style>
<rect width="100%" height="100%" rx="8" fill="#fbfcfd"/>"""
