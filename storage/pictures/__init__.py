"""Pictures that we draw: sheets, figures, thumbnails, maps, curves, the label. Knows no sources."""
