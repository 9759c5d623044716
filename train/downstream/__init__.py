"""Fine-tuning on downstream tasks, and scoring them."""
