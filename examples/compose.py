"""Writes each voice's conversations from the handwritten questions: ``python -m examples.compose``."""

from __future__ import annotations

import json

from examples.voices import VOICES, Voice, conversation, read_questions


def compose(voice: Voice) -> str:
    """The voice's training data, one conversation per line."""
    return "".join(json.dumps(conversation(voice, question)) + "\n" for question in read_questions())


def main() -> None:
    """Write the data of all voices into ``examples/data``."""
    for voice in VOICES:
        voice.data.write_text(compose(voice), "utf-8")


if __name__ == "__main__":
    main()
