"""Images and backbones: data sets, preprocessing, pooled features, the extraction run. Knows no heads."""
