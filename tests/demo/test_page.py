"""The page as a visitor sees it, in Chromium without a window. SCREENSHOTS=DIRECTORY keeps what it looked like.

All of it: python -m pytest -m 'slow or not slow' tests/demo/test_page.py"""
import base64
import json
import re
import urllib.parse

import pytest

from .conftest import picture

By = pytest.importorskip('selenium.webdriver.common.by').By
Wait = pytest.importorskip('selenium.webdriver.support.ui').WebDriverWait

# Drops a file, given as base64, on the picture.
DROP = '''const bytes = Uint8Array.from(atob(arguments[1]), c => c.charCodeAt(0)), transfer = new DataTransfer();
transfer.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
for (const kind of ['dragenter', 'dragover', 'drop'])
    arguments[0].dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));'''

# Copies a file, given as base64, to the clipboard.
COPY = '''const done = arguments[1], bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]).then(() => done(''), done);'''


class Screen:
    """What a visitor does with the page, and reads on it."""

    def __init__(self, browser, page, screenshots):
        self._browser, self._screenshots = browser, screenshots
        browser.get(page.address)
        self.until(lambda: self.all('#picture input[type=file]'))

    def all(self, selector):
        return self._browser.find_elements(By.CSS_SELECTOR, selector)

    def until(self, condition):
        """Wait until something is so; what it gave."""
        from selenium.common.exceptions import StaleElementReferenceException
        return Wait(self._browser, 60, 0.1, [StaleElementReferenceException]).until(lambda _: condition())

    def click(self, selector):
        self.until(lambda: self.all(selector))[0].click()

    def drop(self, data):
        target = self.until(lambda: self.all('#picture .upload-container'))[0]
        self._browser.execute_script(DROP, target, base64.b64encode(data).decode())

    def copy(self, data):
        for name in 'clipboard-read', 'clipboard-write':
            self._browser.execute_cdp_cmd('Browser.setPermission', {'permission': {'name': name}, 'setting': 'granted'})
        assert not self._browser.execute_async_script(COPY, base64.b64encode(data).decode())

    def send(self, path):
        self.all('#picture input[type=file]')[0].send_keys(str(path))

    def choose(self, place, text):
        self.click(f'#{place} input')
        self.until(lambda: [item for item in self.all('ul[role=listbox] li') if item.text.lstrip('✓ \n') == text])[0].click()

    def bars(self, side):
        """[(class, percent)] of the bars, once there are some."""
        rows = self.until(lambda: self.all(f'#{side}_classes .confidence-set'))
        return [(row.find_element(By.CSS_SELECTOR, 'dt').text, row.find_element(By.CSS_SELECTOR, 'dd').text) for row in rows]

    def heat(self, side, name):
        """Wait for the heat map of a class; its width and height in pixels, once it is loaded."""
        self.until(lambda: [e for e in self.all(f'#{side}_heat label') if e.text == f'Heat map: {name}'])
        sizes = ('naturalWidth', 'naturalHeight')
        image = self.until(lambda: [e for e in self.all(f'#{side}_heat img') if e.get_property(sizes[0])])[0]
        return tuple(map(image.get_property, sizes))

    def keep(self, name):
        self._browser.save_screenshot(str(self._screenshots / f'{name}.png'))


@pytest.fixture
def screen(browser, page, screenshots):
    return Screen(browser, page, screenshots)


@pytest.fixture(scope='module')
def dropped(browser, page, screenshots):
    """A page on which a blue picture was dropped, for the first three tests; `screen` loads the page anew, which takes seconds."""
    browser.get('about:blank')                                     # away from the page that Chromium begins with
    for kind in 'browser', 'performance':
        browser.get_log(kind)
    screen = Screen(browser, page, screenshots)
    screen.drop(picture(2))
    return screen


def test_a_dropped_picture_gets_bars_latency_and_a_heat_map(dropped):
    bars = dropped.bars('left')
    assert bars[0][0] == 'bläu' and int(bars[0][1].rstrip('%')) > 50 and len(bars) == 2
    assert dropped.heat('left', 'bläu') == (384, 384)
    assert re.search(r'\d+\.\d ms for the network \(median of 3 runs\)', dropped.all('#left_latency')[0].text)
    assert not dropped.all('#right_classes .confidence-set')
    dropped.keep('one network')


def test_a_clicked_class_gets_its_heat_map(dropped):
    dropped.heat('left', 'bläu')
    first = dropped.all('#left_heat img')[0].get_attribute('src')
    dropped.bars('left')
    dropped.all('#left_classes .confidence-set')[1].click()
    dropped.heat('left', 'red, warm')
    assert dropped.all('#left_heat img')[0].get_attribute('src') != first


def test_the_browser_asks_no_other_host_and_finds_no_error(dropped, browser, page):
    dropped.bars('left')
    events = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    addresses = [event['params']['request']['url'] for event in events if event['method'] == 'Network.requestWillBeSent']
    hosts = {urllib.parse.urlsplit(address).netloc for address in addresses if not address.startswith(('data:', 'blob:'))}
    assert len(addresses) > 10 and hosts == {urllib.parse.urlsplit(page.address).netloc}
    assert not [entry['message'] for entry in browser.get_log('browser') if entry['level'] == 'SEVERE']


def test_two_networks_are_compared_side_by_side(screen, page, tmp_path):
    (tmp_path / 'red.png').write_bytes(picture(0))
    screen.choose('second', page.labels[1])
    screen.send(tmp_path / 'red.png')
    assert screen.bars('left')[0][0] == 'red, warm'
    assert {name for name, _ in screen.bars('right')} == {'cat', 'Müller, "Anna"', '数字', 'e', 'f'}
    screen.heat('left', 'red, warm')
    left, right = (screen.all(f'#{side}_classes')[0].rect for side in ('left', 'right'))
    assert left['y'] == right['y'] and left['x'] + left['width'] <= right['x']
    screen.keep('two networks')
    screen.choose('second', page.labels[2])
    screen.until(lambda: 'No heat map: this is an export' in screen.all('#right_latency')[0].text)
    screen.keep('a network and an export')


@pytest.mark.slow
def test_a_picture_is_pasted(screen):
    screen.copy(picture(0))
    screen.click('#picture button[aria-label="Paste from clipboard"]')
    assert screen.bars('left')[0][0] == 'red, warm'


@pytest.mark.slow
def test_the_camera_takes_a_picture(screen):
    screen.click('#picture button[aria-label="Capture from camera"]')
    screen.click('#picture .wrap')
    screen.until(lambda: [video for video in screen.all('#picture video') if video.get_property('videoWidth')])
    screen.click('#picture button[aria-label="capture photo"]')
    assert len(screen.bars('left')) == 2
    screen.keep('camera')


@pytest.mark.slow
def test_what_is_no_picture_is_refused_with_a_reason_and_the_page_goes_on(screen, tmp_path):
    (tmp_path / 'text.png').write_text('no picture')
    screen.send(tmp_path / 'text.png')
    screen.until(lambda: [toast for toast in screen.all('.toast-body') if 'the file is no image' in toast.text])
    screen.keep('refused')
    screen.drop(picture(2))
    assert screen.bars('left')[0][0] == 'bläu'


@pytest.mark.slow
def test_a_picture_that_is_removed_takes_its_answer_with_it(screen):
    screen.drop(picture(0))
    screen.heat('left', 'red, warm')
    screen.click('#picture button[aria-label="Remove Image"]')
    screen.until(lambda: not screen.all('#left_classes .confidence-set') and not screen.all('#left_heat img'))
