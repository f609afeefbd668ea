"""Stage 5: recipes that add labelled stems to segments."""
