"""What a run leaves behind: its folder, its events, and the folds over them that the report is made of."""
