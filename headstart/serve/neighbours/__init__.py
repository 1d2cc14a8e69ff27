"""Why a head thinks so: the training pictures that are most like a picture, where they are at hand."""
