"""The end of a fit: test the classifier on held-out pictures, and write all results for the user."""
import shlex

import numpy as np

from image_classification.checkpoint import load_network
from image_classification.datasets.images import open_image
from image_classification.deploy.export import export_model
from image_classification.deploy.predictor import Predictor
from image_classification.drawing.contact_sheet import COLUMNS, ROWS, ContactSheet, thumbnail
from image_classification.engine.report import Confusion, write_per_class
from image_classification.fit.features import by_batches
from image_classification.fit.statistics import calibration_error, interval
from image_classification.installation import words_of

EXPORT, MISTAKES = 'export', 'mistakes.png'


def conclude(output, checkpoint, survey, tested, training, say):
    """Test, draw the mistakes, export, and write the last lines. Returns {'top1', 'interval', ...}."""
    network, class_names = load_network(checkpoint)
    predictor = Predictor.of_network(network, class_names)
    labels = np.array([picture.label for picture in tested])
    probabilities = by_batches(tested, predictor.predict, 'test')
    predicted = probabilities.argmax(1)
    confusion = Confusion(len(class_names))
    confusion.add(labels, predicted)
    for line in write_per_class(confusion, class_names, output):
        say(line)
    sheet = _draw_mistakes(output / MISTAKES, tested, labels, probabilities, class_names)
    say('exporting, and comparing the export with the network')
    differences = export_model(network, output / EXPORT, class_names)
    right, count = int((predicted == labels).sum()), len(labels)
    low, high = interval(right, count)
    before = calibration_error(_uncalibrated(probabilities, network.config.TEMPERATURE), labels)
    after = calibration_error(probabilities, labels)
    agreement = ', '.join(f'{difference:.1e} at batch {batch}' for batch, difference in differences.items())
    say(f'top-1       {100 * right / count:.2f} % ({low:.1f} to {high:.1f} with 95 % confidence) on {count} pictures')
    say(f'calibration expected error {100 * before:.1f} % before, {100 * after:.1f} % after '
        f'(temperature {network.config.TEMPERATURE:g})')
    say(f'checkpoint  {checkpoint}')
    if sheet:
        say(f'mistakes    {sheet}')
    say(f'export      {output / EXPORT} (largest difference from the network: {agreement})')
    say(f'advice      {_advice(confusion, class_names, survey.counts(training), right, count)}')
    command = [*words_of('predict'), str(output / EXPORT), str(tested[0].path)]
    say(f'classify    {shlex.join(command)}')
    return {'top1': 100 * right / count, 'interval': (low, high), 'images': count, 'calibration': (before, after),
            'checkpoint': checkpoint, 'export': output / EXPORT}


def _uncalibrated(probabilities, temperature):
    """Convert probabilities at `temperature` to those at temperature 1."""
    powers = np.power(np.maximum(probabilities.astype(np.float64), 1e-30), temperature)
    return powers / powers.sum(1, keepdims=True)


def _draw_mistakes(path, tested, labels, probabilities, class_names):
    """Draw a contact sheet of the mistakes, the most confident ones first. Returns its path, or None without mistakes."""
    predicted = probabilities.argmax(1)
    wrong = sorted(np.flatnonzero(predicted != labels), key=lambda i: -probabilities[i].max())[:COLUMNS * ROWS]
    if not wrong:
        return None
    sheet = ContactSheet(path, len(wrong))
    for i in wrong:
        label = f'{class_names[predicted[i]]}, is {class_names[labels[i]]}'
        sheet.add(thumbnail(open_image(tested[i].path, 3)), label, float(probabilities[i].max()), tested[i].path)
    sheet.close()
    return path


def _advice(confusion, names, learned, right, count):
    """One sentence on what would improve the classifier most."""
    counts = confusion.counts.copy()
    np.fill_diagonal(counts, 0)
    if right == count:
        return f'nothing was wrong; a test of more than {count} pictures would tell more'
    truth, taken = np.unravel_index(counts.argmax(), counts.shape)
    few = int(learned.argmin())
    if learned[few] * 3 < learned.max():
        return f'more pictures of {names[few]!r}, of which only {learned[few]} were learned'
    return (f'more pictures of {names[truth]!r} and {names[taken]!r}, which are confused most often ({counts[truth, taken]} of '
            f'{count - right} mistakes), or a look at whether their names are right')
