"""How records name the few-shot evaluation and its controls."""

MIXTURE = "fewshot"
RANDOM_FEATURES = f"{MIXTURE}-random-features"
SHUFFLED_LABELS = f"{MIXTURE}-shuffled-labels"
CONTROLS = (RANDOM_FEATURES, SHUFFLED_LABELS)
TITLES = {
    MIXTURE: "trained features",
    RANDOM_FEATURES: "random features",
    SHUFFLED_LABELS: "shuffled labels",
}
