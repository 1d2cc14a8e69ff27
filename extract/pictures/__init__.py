"""Picture files: how folders of them are laid out, which are taken, how their bytes are read and become pixels."""
