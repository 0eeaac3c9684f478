"""The page, made with gradio, and the application that serves it."""
import os

from fastapi import FastAPI

from image_classification.demo.candidates import RUNS
from image_classification.demo.guard import Guard
from image_classification.demo.private_gradio import gradio as gr
from image_classification.demo.private_gradio import look_less_often
from image_classification.errors import UserError

TITLE = 'Mobile backbones'
NONE = 'no second network'
_WAITING = 20                                                      # requests in the queue; more are refused
_SESSIONS = 200                                                    # sessions that gradio keeps; each takes 50 KB
_FONTS = ['system-ui', 'Arial', 'sans-serif'], ['ui-monospace', 'Consolas', 'monospace']   # fonts on the visitor's own machine
_INTRODUCTION = (f'# {TITLE}\nDrop a picture, paste one, or take one with the camera. The bars are the five most probable '
                 'classes. Choose a second network to see both side by side. Click a class to see what in the picture speaks for '
                 'it.')


def build_app(candidates, pictures, settings):
    """The ASGI application of the page. A process can have only one at a time, because gradio's folder is set for the process.

    Args:
        candidates: {label: Candidate}.
        pictures: a PictureStore.
        settings: the Settings of uploads.
    """
    os.environ['GRADIO_TEMP_DIR'] = str(pictures.folder)
    page = _Page(candidates, pictures).blocks()
    page.queue(max_size=_WAITING, default_concurrency_limit=1)     # one picture at a time, so that latencies are meaningful
    look_less_often(page)
    page.state_session_capacity = _SESSIONS
    fonts, monospaced = _FONTS
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), page, '/', allowed_paths=[], show_error=False,
        max_file_size=int(settings.max_upload_mb * (1 << 20)), footer_links=[], run_history=False, ssr_mode=False, pwa=False,
        enable_monitoring=False, mcp_server=False, theme=gr.themes.Default(font=fonts, font_mono=monospaced))
    return Guard(app, pictures, settings)


class _Page:
    """The elements of the page and what happens when they are used."""

    def __init__(self, candidates, pictures):
        self._candidates, self._pictures = candidates, pictures

    def blocks(self):
        labels = list(self._candidates)
        with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
            gr.Markdown(_INTRODUCTION)
            with gr.Row():
                with gr.Column(scale=3, min_width=280):
                    picture = gr.Image(label='Picture', type='filepath', image_mode=None, height=320, elem_id='picture',
                                       sources=['upload', 'webcam', 'clipboard'], buttons=[])
                with gr.Column(scale=2, min_width=280):
                    first = gr.Dropdown(labels, value=labels[0], label='Network', elem_id='first')
                    second = gr.Dropdown([NONE, *labels], value=NONE, label='Compare with', elem_id='second')
                    with_heat = gr.Checkbox(True, label='Heat map', elem_id='with_heat')
            with gr.Row():
                left, right = self._column('left', True), self._column('right', False)
            event = {'inputs': [picture, first, second, with_heat], 'outputs': [*left, *right], 'preprocess': False,
                     'concurrency_id': 'network', 'api_visibility': 'private'}
            gr.on([picture.change, first.input, second.input, with_heat.input], self._answer, trigger_mode='always_last',
                  **event)
            for column, network in ((left, first), (right, second)):
                _, bars, _, heat = column
                bars.select(self._explain, [picture, network], heat, preprocess=False, concurrency_id='network',
                            api_visibility='private')
        return page

    def _column(self, name, visible):
        """The elements for the answer of one network: column, bars, latency, heat map."""
        with gr.Column(visible=visible, min_width=280) as column:
            bars = gr.Label(label='Classes', num_top_classes=5, elem_id=f'{name}_classes')
            latency = gr.Markdown(elem_id=f'{name}_latency')
            heat = gr.Image(label='Heat map', format='png', interactive=False, height=400, elem_id=f'{name}_heat',
                            buttons=['fullscreen', 'download'])
        return column, bars, latency, heat

    def _answer(self, picture, first, second, with_heat):
        """The content of both columns, after any change."""
        return [*self._fill(picture, first, with_heat), *self._fill(picture, second, with_heat)]

    def _fill(self, picture, label, with_heat):
        if label == NONE:
            return [gr.update(visible=False), None, '', None]
        candidate, image = self._candidate(label), self._open(picture)
        shown = gr.update(visible=True)
        if image is None:
            return [shown, gr.update(label=label, value=None), '', self._heat(None)]
        answer = candidate.classify(image)
        text = (f'**{answer.network_ms:.1f} ms** for the network (median of {RUNS} runs), {answer.prepare_ms:.1f} ms for the '
                'preparation of the picture')
        if not with_heat:
            heat = gr.update(visible=False)
        elif candidate.explains:
            heat = self._heat(*candidate.heat_map(image))
        else:
            text += '\n\nNo heat map: this is an export, which has no gradients. Give the page its checkpoint.'
            heat = gr.update(visible=False, value=None)
        return [shown, gr.update(label=label, value=dict(answer.best)), text, heat]

    def _heat(self, picture, class_name=''):
        label = f'Heat map: {class_name}' if class_name else 'Heat map'
        return gr.update(visible=True, label=label, value=picture)

    def _explain(self, picture, label, event: gr.SelectData):
        """The heat map of the class that was clicked."""
        candidate, image = self._candidate(label), self._open(picture)
        if image is None or not candidate.explains:
            return gr.skip()
        return self._heat(*self._told(candidate.heat_map, image, str(event.value)))

    def _candidate(self, label):
        if label not in self._candidates:
            raise gr.Error('there is no such network', print_exception=False)
        return self._candidates[label]

    def _open(self, picture):
        """The PIL image for the picture data that the page sends; None if there is no picture."""
        self._pictures.sweep()                                     # also deletes old heat maps, which lie with the pictures
        return self._told(self._pictures.open, picture['path']) if picture else None

    def _told(self, function, *arguments):
        """Call a function and return its result. A UserError is shown to the visitor."""
        try:
            return function(*arguments)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
