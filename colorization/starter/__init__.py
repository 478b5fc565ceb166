"""The weights that come with the package: four experts and a segmenter, with a card each."""
