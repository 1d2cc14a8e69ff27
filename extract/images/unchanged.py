"""Whether images are still those that features were made from."""

from headstart.core.cache.manifest import Manifest
from headstart.core.extract.images import Images, rows_digest


def same_images(images: Images, manifest: Manifest) -> bool:
    """Whether the rows that a feature set covers are these images, by content, in the order that the set has them in.

    Files whose size, times and inode are the recorded ones are not read again, as `git` does it. Raises OSError,
    DataNotFound, DataInvalid.
    """
    if images.rows < manifest.stop or images.split != manifest.split or images.classes != manifest.classes:
        return False
    images = images.in_order(manifest.provenance.order)
    for shard in manifest.shards:
        span = (shard.start, shard.stop)
        stat = images.stat(*span)
        if stat is not None and stat == shard.inputs_stat:
            continue
        if rows_digest(images, span) != shard.inputs:
            return False
    return True
