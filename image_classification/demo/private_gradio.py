"""Imports gradio with environment variables that stop it from reporting usage and looking for newer versions."""
import os

os.environ.update(GRADIO_ANALYTICS_ENABLED='False', GRADIO_SHARE='False', GRADIO_MCP_SERVER='False', GRADIO_SSR_MODE='False',
                  GRADIO_ALLOWED_PATHS='', HF_HUB_OFFLINE='1', HF_HUB_DISABLE_TELEMETRY='1')

import gradio  # noqa: E402

__all__ = ['gradio', 'look_less_often']
_SECONDS = 0.02


def look_less_often(page):
    """Let the queue of a page poll for visitors 50 times a second. By default gradio polls a thousand times a second, which
    takes a tenth of a core even without visitors."""
    queue = getattr(page, '_queue', None)
    if hasattr(queue, 'sleep_when_free'):
        queue.sleep_when_free = _SECONDS
