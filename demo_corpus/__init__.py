"""A seeded generator of songs: a labelled set and an unlabelled corpus with known silences.

``composition`` writes the notes of a song, ``rendering`` plays them with a General MIDI soundfont,
``corpus`` writes the audio files and the truth about them. Nothing here knows of the rest of
silentmix: what it writes is read back like anybody's music.
"""
