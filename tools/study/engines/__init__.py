"""The executors of a study, and what they share: endings, tries, resources."""
