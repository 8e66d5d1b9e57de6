"""Programs that stand on the store: the file applications, the demonstration, the benchmark."""
