"""Reads the files of programs beside the tests: sections that begin with `### a title`."""

from __future__ import annotations

from pathlib import Path


def read_sections(name: str) -> dict[str, str]:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    sections: dict[str, str] = {}
    for section in text.split("### ")[1:]:
        title, _, program = section.partition("\n")
        sections[title] = program.strip("\n") + "\n"
    return sections
