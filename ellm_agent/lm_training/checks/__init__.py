"""Small tasks with known best answers, on which the learners are checked: random walks, Wordle, stitching."""
