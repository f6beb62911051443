"""The image of a post: exactly the bytes that the request names, and fit for the provider it goes to."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from utils.core import social
from utils.core.social import Post
from utils.core.task import ApprovalRequest, InvalidTask
from utils.vault import frozen


def whole(root: Path, request: ApprovalRequest) -> Post:
    """The post that a request asks for, with the bytes of its image in the vault `root`. Raises `InvalidTask`."""
    post = social.post(request)
    if post.image is None:
        return post
    import imagesize

    data = frozen.read_all(root, [post.image.file])[0]
    wrong = social.image_problems(request.action, post.image, data, imagesize.get(io.BytesIO(data)))
    if wrong:
        raise InvalidTask(wrong)
    return replace(post, data=data)
